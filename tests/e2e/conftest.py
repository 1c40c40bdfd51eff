"""Fixtures of the end-to-end tests: gateways, mock upstreams, clients; all end with their test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from gatewayproc import BIN, Gateway  # noqa: E402
from mcpclient import Client, Legacy, Modern  # noqa: E402
from mockhttp import HttpMock  # noqa: E402
from mocks import LegacyServer, ModernServer, Service  # noqa: E402

StartGateway = Callable[..., Gateway]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the binary everything that needs it fails at once, with one clear reason."""
    if not BIN.exists() and any("start_gateway" in getattr(i, "fixturenames", ()) for i in items):
        raise pytest.UsageError(f"no gateway to test: {BIN} (build it, or set HEADGATE_BIN)")


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """start_gateway(config, env=…, args=…) → Gateway. At the end all are stopped and judged."""
    started: list[Gateway] = []

    def start(config: dict[str, Any] | None = None, **more: Any) -> Gateway:
        gateway = Gateway(config or {}, tmp_path / f"gateway{len(started)}", **more)
        started.append(gateway)
        return gateway

    yield start
    problems = []
    for gateway in started:
        try:
            gateway.stop()
        except AssertionError as e:
            problems.append(str(e))
        problems += [p] if (p := gateway.verdict()) else []
    assert not problems, "\n".join(problems)


@pytest.fixture
def mocks() -> Iterator[Callable[[HttpMock], Any]]:
    """mocks(server) starts it; at the end none may have seen a breach of the protocol.
    server.lenient = True in tests whose upstream misbehaves."""
    started: list[HttpMock] = []

    def start(server: HttpMock) -> HttpMock:
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()
    failed = [v for s in started for v in s.violations if v.startswith("the mock itself failed")]
    breaches = failed + [v for s in started if not s.lenient for v in s.violations]
    assert not breaches, "\n".join(breaches)


@pytest.fixture
def clients() -> Iterator[Callable[[Client], Any]]:
    """clients(client) closes its connections at the end, before the gateway stops."""
    opened: list[Client] = []

    def keep(client: Client) -> Client:
        opened.append(client)
        return client

    yield keep
    for client in opened:
        client.close()


@dataclass
class StdioMock:
    """The script stdio_server.py as an upstream, and what it recorded."""

    folder: Path
    name: str
    era: str
    options: tuple[str, ...] = ()

    @property
    def record(self) -> Path:
        return self.folder / f"{self.name}.record"

    def mount(self, **more: Any) -> dict[str, Any]:
        args = [str(HERE / "stdio_server.py"), "--era", self.era, "--name", self.name]
        args += ["--record", str(self.record), *self.options]
        return {"command": sys.executable, "args": args} | more

    def lines(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []

    def messages(self, method: str) -> list[str]:
        """The recorded messages of that method, as they came."""
        return [line for line in self.lines() if f'"method":"{method}"' in line]

    def pids(self) -> list[int]:
        """Of every process that was started, in order."""
        return [int(line.split()[2]) for line in self.lines() if line.startswith("# pid ")]

    def violations(self) -> list[str]:
        return [line for line in self.lines() if line.startswith("!")]


@pytest.fixture
def stdio(tmp_path: Path) -> Iterator[Callable[..., StdioMock]]:
    """stdio(name, era) describes a stdio upstream; at the end none may have seen a breach."""
    made: list[StdioMock] = []

    def make(name: str = "io", era: str = "legacy", *options: str) -> StdioMock:
        made.append(StdioMock(tmp_path, name, era, options))
        return made[-1]

    yield make
    breaches = [v for mock in made for v in mock.violations()]
    assert not breaches, "\n".join(breaches)


@pytest.fixture
def modern_up(mocks: Callable[[HttpMock], Any]) -> ModernServer:
    return mocks(ModernServer())


@pytest.fixture
def legacy_up(mocks: Callable[[HttpMock], Any]) -> LegacyServer:
    return mocks(LegacyServer())


@dataclass
class Pair:
    """A gateway before one upstream called "up", and a client of the wanted era."""

    gateway: Gateway
    upstream: Any
    client: Any
    make: Callable[..., Any]


@pytest.fixture
def pair(
    start_gateway: StartGateway,
    mocks: Callable[[HttpMock], Any],
    clients: Callable[[Client], Any],
) -> Callable[..., Pair]:
    """pair("legacy", "modern") → a legacy client through a gateway to a modern server."""

    def make(
        client_era: str,
        server_era: str,
        *,
        service: Service | None = None,
        config: dict[str, Any] | None = None,
        **mount: Any,
    ) -> Pair:
        server = mocks((ModernServer if server_era == "modern" else LegacyServer)(service))
        gateway = start_gateway({"upstreams": {"up": {"url": server.url} | mount}} | (config or {}))

        def client(**more: Any) -> Any:
            return clients((Modern if client_era == "modern" else Legacy)(gateway.url, **more))

        return Pair(gateway, server, client(), client)

    return make
