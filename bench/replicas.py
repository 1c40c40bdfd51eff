"""What clients lose while replicas are killed: clients of two SDKs with open sessions behind a
round-robin balancer, and one replica killed every few seconds. Prints one JSON line.

    build/venv/bin/python bench/replicas.py [--seconds 30] [--sessions 20] [--every 5]
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from gatewayproc import Gateway  # noqa: E402
from mcp.client.client import Client  # noqa: E402
from mocks import LegacyServer  # noqa: E402
from redisproc import RedisServer  # noqa: E402
from replicas import Balancer  # noqa: E402


def outcome(e: Exception) -> str:
    """A JSON-RPC error by its reason; anything else is a client that was not told."""
    error = getattr(e, "error", None)
    if error is None:
        return f"broken {type(e).__name__}"
    return f"error {(error.data or {}).get('reason', error.code)}"


def leaf(e: BaseException) -> str:
    while isinstance(e, BaseExceptionGroup):
        e = e.exceptions[0]
    return type(e).__name__


async def session(url: str, until: float, counts: Counter[str]) -> None:
    """One session; calls again and again until the time is over."""
    async with Client(url, mode="legacy") as client:
        counts["sessions"] += 1
        while time.monotonic() < until:
            try:
                answer = await asyncio.wait_for(client.call_tool("up_echo", {"n": 1}), 20)
                counts["failed" if answer.is_error else "answered"] += 1
            except Exception as e:
                counts[outcome(e)] += 1
            await asyncio.sleep(0.05)


async def client(url: str, until: float, counts: Counter[str]) -> None:
    """The SDK gives up a session when a connection breaks under a call: that is what was in flight
    on the killed replica. A host then begins another."""
    while time.monotonic() < until:
        try:
            await session(url, until, counts)
        except BaseExceptionGroup as e:
            counts[f"in flight, {leaf(e)}"] += 1


async def python(url: str, options: argparse.Namespace, until: float) -> Counter[str]:
    counts: Counter[str] = Counter()
    await asyncio.gather(*(client(url, until, counts) for _ in range(options.sessions)))
    return counts


async def node(url: str, options: argparse.Namespace, until: float) -> Counter[str]:
    seconds = until - time.monotonic()
    plan = {"url": url, "seconds": seconds, "sessions": options.sessions, "tool": "up_echo"}
    driver = ROOT / "tests" / "e2e" / "clients" / "sessions.mjs"
    process = await asyncio.create_subprocess_exec(
        "node", driver, json.dumps(plan), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{driver.name} ended with {process.returncode}")
    return Counter(json.loads(out))


async def run(options: argparse.Namespace, fleet: list[Gateway], config: Any, work: Path) -> Any:
    balancer = Balancer(lambda: [g.host_port for g in fleet])
    until = time.monotonic() + options.seconds
    drivers = {"python": python, "node": node}
    tasks = {
        name: asyncio.create_task(drive(balancer.url, options, until))
        for name, drive in drivers.items()
    }
    killed = 0
    while time.monotonic() + options.every < until:
        await asyncio.sleep(options.every)
        victim = fleet.pop(0)
        victim.signal(signal.SIGKILL)
        await asyncio.to_thread(victim.wait)
        killed += 1
        fresh = await asyncio.to_thread(Gateway, config, work / f"more{killed}")
        fleet.append(fresh)
    counts = {name: dict(sorted((await task).items())) for name, task in tasks.items()}
    balancer.close()
    return {"killed": killed} | counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--every", type=float, default=5)
    parser.add_argument("--replicas", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        redis, server = RedisServer(), LegacyServer()
        server.start()
        config = {
            "sealKeys": [base64.b64encode(secrets.token_bytes(32)).decode()],
            "store": redis.url,
            "replicaLink": {"listen": "127.0.0.1:0"},
            "upstreams": {"up": {"url": server.url}},
        }
        fleet = [Gateway(config, work / f"replica{n}") for n in range(options.replicas)]
        try:
            result = asyncio.run(run(options, fleet, config, work))
        finally:
            for gateway in fleet:
                gateway.process.kill()
            redis.stop()
            server.stop()
    print(json.dumps(result))
    known = ("answered", "error owner_gone", "error answer_lost", "in flight", "sessions")
    told = [k for client in ("python", "node") for k in result[client]]
    return 0 if all(k.startswith(known) for k in told) else 1


if __name__ == "__main__":
    raise SystemExit(main())
