"""What Python tools cannot do: the profile contains escapes, abuse hurts the abuser only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import BIN, Gateway, run_cli
from mcpclient import Modern
from processes import descendants, open_files, zombies
from wire import poll

HERE = Path(__file__).resolve().parent
ASAN = "asan" in BIN.parts  # address space cannot be limited there
SECRET = "the-gateways-own-secret"

# What a profile allows beside what no tool may.
NET = {"connect_to_the_gateway", "send_a_datagram"}
EXEC = NET | {
    "fork",
    "vfork_by_number",
    "clone_by_number",
    "run_a_shell",
    "become_a_program",
    "memory_file_to_run",
}
# kill(-1) reports success when every process refuses; that nobody was hit, the rest shows.
SAYS_LITTLE = {"signal_everybody"}
ALLOWED = {"pure": set(), "net": NET, "exec": EXEC}


class Cage:
    """A gateway whose tools are hostile."""

    def __init__(self, folder: Path, profile: str) -> None:
        config = {
            "local": {"inline": str(HERE / "local_probes"), "workers": 2, "maxMemoryMb": 512},
            "sandbox": {"profile": profile},
        }
        self.gateway = Gateway(
            config, folder, env={"MCP_AUTH_SECRET": SECRET, "TMPDIR": str(folder)}
        )
        self.profile = profile
        sockets = poll(lambda: list(folder.glob("headgate-local-*/python-*")), why="it listens")
        self.at = {
            "gateway": self.gateway.pid,
            "secret": SECRET,
            "config": str(self.gateway.file),
            "folder": str(folder),
            "port": self.gateway.host_port[1],
            "socket": str(sockets[0]),
        }

    def client(self) -> Modern:
        return Modern(self.gateway.url)

    def probe(self, name: str) -> Any:
        client = self.client()
        try:
            return client.call("probe", {"name": name, "at": self.at})
        finally:
            client.close()

    def still_serves(self) -> bool:
        client = self.client()
        try:
            return "fork" in client.call("names", {}).text
        finally:
            client.close()


@pytest.fixture(scope="module", params=["pure", "net", "exec"])
def cage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cage]:
    made = Cage(tmp_path_factory.mktemp("cage"), request.param)
    yield made
    if request.param != "exec":  # where a tool may leave children of its own unreaped
        poll(lambda: not zombies(made.gateway.pid), why="all workers are reaped")
    made.gateway.stop()
    assert not (problem := made.gateway.verdict()), problem


def probe_names() -> list[str]:
    text = (HERE / "local_probes" / "tools" / "probes.py").read_text()
    return [part.split("(")[0] for part in text.split("@probing\ndef ")[1:]]


def test_there_are_enough_probes() -> None:
    assert len(probe_names()) >= 40


def test_escapes_are_contained(cage: Cage) -> None:
    client, escaped = cage.client(), []
    for name in probe_names():
        if name in ALLOWED[cage.profile] or (ASAN and name == "more_memory"):
            continue
        reply = client.call("probe", {"name": name, "at": cage.at})
        answer = reply.text if "result" in reply.message else reply.message["error"]["message"]
        if "contained" not in answer and not (cage.profile == "exec" and name in SAYS_LITTLE):
            escaped.append(f"{name}: {answer}")
    client.close()
    assert not escaped and cage.still_serves(), "\n".join(escaped)


def test_what_a_profile_allows_works(cage: Cage) -> None:
    works = ALLOWED[cage.profile] & {"connect_to_the_gateway", "fork", "run_a_shell"}
    for name in sorted(works):
        assert cage.probe(name).text.startswith("escaped"), name


def test_the_level_is_told(cage: Cage) -> None:
    told = cage.gateway.api("local")["sandbox"]
    assert told["profile"] == cage.profile
    assert told["level"] in ("full", "partly")
    level = cage.gateway.metric("mcp_sandbox_level", profile=cage.profile)
    assert level == (3 if told["level"] == "full" else 2)


def test_workers_hold_no_capability(cage: Cage) -> None:
    assert cage.still_serves()
    for pid in descendants(cage.gateway.pid):
        status = Path(f"/proc/{pid}/status").read_text()
        if "headgate-python" in status and "Seccomp:\t2" in status:
            assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
            return
    raise AssertionError("no worker is confined by seccomp")


ENDS = {
    "line_without_end": "maxMessageBytes",
    "close_connection": "ended",
    "abort": "SIGABRT",
    "exit_in_a_thread": "status 7",
    "kill_itself": "SIGKILL",
}
TIMED = {"regex_bomb", "stop_itself", "deaf_loop"}
ANY = {"recursion", "leave", "forged_answers", "garbage", "thread_bomb"}
TOLD = {"descriptor_bomb": "contained at", "print_flood": "1", "stderr_flood": "1"}


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cage]:
    made = Cage(tmp_path_factory.mktemp("pure"), "pure")
    yield made
    made.gateway.stop()
    assert not (problem := made.gateway.verdict()), problem


def abuse(cage: Cage, tool: str) -> str:
    """What the abuser's caller is told, while others call on."""
    client, other = cage.client(), cage.client()
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.call, tool, {})
            while not waiting.done():
                reply = other.call("names", {})
                assert "fork" in reply.text and not reply.result["isError"]
            reply = waiting.result()
    finally:
        client.close()
        other.close()
    message = reply.message
    return message["error"]["message"] if "error" in message else json.dumps(message["result"])


ABUSES = {*ENDS, *TIMED, *ANY, *TOLD, "memory_bomb", "large_result"}
UNLIMITED = {"memory_bomb", "thread_bomb"} if ASAN else set()  # they would take the machine's


@pytest.mark.parametrize("tool", sorted(ABUSES - UNLIMITED))
def test_abuse_hurts_the_abuser_only(pure: Cage, tool: str) -> None:
    told = abuse(pure, tool)
    if tool in TIMED:
        assert "1.5 s" in told or "1.5s" in told or "timed out" in told, told
    elif tool == "memory_bomb":
        assert "memory" in told.lower(), told
    elif tool == "large_result":
        assert "maxMessageBytes" in told, told
    elif tool in ENDS or tool in TOLD:
        assert (ENDS | TOLD)[tool] in told, told
    assert pure.still_serves()


def test_abuse_leaks_nothing(pure: Cage) -> None:
    gateway = pure.gateway

    def rest() -> int:
        poll(lambda: gateway.api("local")["pool"]["workers"] == 3, why="the pool is full again")
        return open_files(gateway.pid)

    abuse(pure, "kill_itself")
    before = rest()
    for tool in ("abort", "kill_itself", "close_connection") * 3:
        abuse(pure, tool)
    assert rest() <= before + 1
    poll(lambda: not zombies(gateway.pid), why="all workers are reaped")


@pytest.mark.parametrize("cage", ["exec"], indirect=True)  # the others have no children
def test_children_of_a_tool_end_with_its_worker(cage: Cage) -> None:
    before = len(descendants(cage.gateway.pid))
    cage.probe("fork")
    client = cage.client()
    client.call("kill_itself", {})
    client.close()
    poll(lambda: len(descendants(cage.gateway.pid)) <= before + 1, why="nothing is left")


def test_strict_refuses_what_the_kernel_cannot_give(tmp_path: Path) -> None:
    config = {
        "listen": "127.0.0.1:0",
        "local": {"inline": str(HERE / "local_probes")},
        "sandbox": {"profile": "pure", "required": "strict"},
    }
    file = tmp_path / "headgate.json"
    file.write_text(json.dumps(config))
    checked = run_cli("check", str(file))
    assert checked.returncode == 0, checked.stderr
    assert os.path.exists(file)
