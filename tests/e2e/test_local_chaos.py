"""Python tools of which a tenth crash, hang or run out of memory, while the others are called on.
HEADGATE_CHAOS_SECONDS says for how long (./dev chaos: five minutes)."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatewayproc import BIN
from mcpclient import Modern
from processes import descendants, open_files, zombies
from wire import poll

SECONDS = float(os.environ.get("HEADGATE_CHAOS_SECONDS", "8"))
RATE, CLIENTS, WORKERS = 200, 16, 4
TOOLS = """
import os, signal

def fine(n: int) -> int:
    return n + 1

async def afine(n: int) -> int:
    return n + 1

def leaves(n: int) -> int:
    os._exit(9)

def killed(n: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)

def crashes(n: int) -> int:
    import ctypes
    ctypes.string_at(0)

def greedy(n: int) -> int:
    return len(bytearray(8 << 30))
"""
HANGS = """
__timeout__ = 0.2

def hangs(n: int) -> int:
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""
BAD = {"leaves": 4, "killed": 3, "crashes": 2, "hangs": 1}  # per cent
ASAN = "asan" in BIN.parts  # no limit of address space; freed memory is kept for a while
if not ASAN:
    BAD |= {"leaves": 3, "greedy": 1}
MIX = [name for name, share in BAD.items() for _ in range(share)]
MIX += ["fine", "afine"] * ((100 - len(MIX)) // 2)


class Caller(threading.Thread):
    """Calls at its share of the rate; counts what came back, and what should not have."""

    def __init__(self, url: str, seed: int, until: float) -> None:
        super().__init__()
        self.client, self.random, self.until = Modern(url), random.Random(seed), until
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        due = time.monotonic()
        n = 0
        while time.monotonic() < self.until:
            n += 1
            self.one(self.random.choice(MIX), n)
            due += CLIENTS / RATE
            time.sleep(max(0.0, due - time.monotonic()))
        self.client.close()

    def one(self, tool: str, n: int) -> None:
        message = self.client.call(tool, {"n": n}).message
        result = message.get("result", {})
        self.seen[tool] += 1
        if tool in ("fine", "afine"):
            right = result.get("structuredContent") == {"result": n + 1}
        elif tool in ("hangs", "greedy"):
            right = result.get("isError") is True
        else:
            right = "the worker that ran this ended" in message.get("error", {}).get("message", "")
        if not right:
            self.wrong.append(f"{tool}: {message}")


def resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def test_a_tenth_of_bad_calls_harms_no_other(
    start_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "workspace" / "tools"
    folder.mkdir(parents=True)
    (folder / "mix.py").write_text(TOOLS)
    (folder / "hangs.py").write_text(HANGS)
    local = {"inline": str(folder.parent), "workers": WORKERS, "maxMemoryMb": 256}
    gateway = start_gateway({"local": local, "log": {"level": "error"}})

    def rest() -> tuple[int, int, int]:
        poll(
            lambda: (
                gateway.api("local")["pool"]["workers"] == WORKERS + 1
                and not zombies(gateway.pid)
                and gateway.api("local")["pool"]["busy"] == 0
            ),
            why="the pool is at rest",
        )
        return open_files(gateway.pid), len(descendants(gateway.pid)), resident_kb(gateway.pid)

    def calls(seconds: float) -> Counter[str]:
        until = time.monotonic() + seconds
        callers = [Caller(gateway.url, seed, until) for seed in range(CLIENTS)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        wrong = [w for caller in callers for w in caller.wrong]
        assert not wrong, wrong[:5]
        return sum((c.seen for c in callers), Counter())

    calls(2)
    files, processes, memory = rest()
    seen = calls(SECONDS)
    after = rest()
    assert after[0] <= files + 2 and after[1] == processes
    assert ASAN or after[2] <= memory + 4096, f"{memory} KB became {after[2]} KB"
    assert all(seen[tool] for tool in BAD), seen
    pool = gateway.api("local")["pool"]
    assert pool["crashes"] >= sum(seen[t] for t in ("leaves", "killed", "crashes"))
