"""Trivial Python tools through Headgate's local provider beside the same functions in FastMCP over
HTTP; README.md says how to read. The interpreter of FastMCP is BENCH_FASTMCP_PYTHON."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import calls
import harness
from harness import BenchError

FASTMCP = Path(os.environ.get("BENCH_FASTMCP_PYTHON", harness.ROOT / "build/bench-venv/bin/python"))
TOOLS = {"local-sync": "echo", "local-async": "aecho"}
WARM_UP = 0.5


class Target:
    """A server of the tools, and its runs."""

    def __init__(self, name: str, port: int, process: harness.Process) -> None:
        self.name, self.port, self.pid = name, port, process.pid
        self.runs: list[dict[str, float]] = []


@contextlib.contextmanager
def headgate(core: int) -> Iterator[Target]:
    folder = harness.OUT / "local"
    (folder / "tools").mkdir(parents=True, exist_ok=True)
    shutil.copy(harness.HERE / "local_tools.py", folder / "tools" / "bench.py")
    argv = [harness.HEADGATE, "local", folder, "--listen=127.0.0.1:0"]
    quiet = {"LOG_LEVEL": "WARNING"}
    with harness.running(argv, core, "headgate-local", quiet) as process:
        line = process.first_line()
        yield Target("headgate", int(str(line["listen"][0]).rpartition(":")[2]), process)


@contextlib.contextmanager
def fastmcp(core: int) -> Iterator[Target]:
    if not FASTMCP.exists():
        raise BenchError(f"{FASTMCP} is missing: ./dev bench local makes it")
    port = harness.free_port()
    argv = [FASTMCP, harness.HERE / "local_fastmcp.py", port]
    with harness.running(argv, core, "fastmcp") as process:
        harness.accepting(port)
        yield Target("fastmcp", port, process)


def requests_of(target: Target, tool: str, modern: bool, connections: int) -> list[Path]:
    """Checks one whole answer, then writes the requests: a session a connection in the old era."""
    files = []
    for i in range(1 if modern else connections):
        session = None if modern else calls.open_session(target.port)
        made = calls.tools_call(tool, modern, session)
        if i == 0:
            calls.check_call(target.port, made, modern)
        path = harness.OUT / "requests" / f"{target.name}-{i}.http"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made.wire(target.port))
        files.append(path)
    return files


def measure(targets: list[Target], tool: str, connections: int, o: argparse.Namespace) -> None:
    core = harness.cores()[1]
    modern = o.era == "modern"
    patient = (calls.WrongAnswer, OSError, http.client.HTTPException)
    files = {
        t.name: harness.until(
            t.name, lambda t=t: requests_of(t, tool, modern, connections), 10, *patient
        )
        for t in targets
    }
    for target in targets:
        harness.load(core, target.port, connections, WARM_UP, calls.MARKER, files[target.name])
        target.runs = []
    for _ in range(o.rounds):
        for t in targets:
            before = harness.cpu_us(t.pid)
            run = harness.load(core, t.port, connections, o.seconds, calls.MARKER, files[t.name])
            run["cpu_us"] = (harness.cpu_us(t.pid) - before) / max(run["requests"], 1)
            t.runs.append(run)


def rows_of(case: str, targets: list[Target], connections: int) -> list[dict[str, object]]:
    rows = []
    base = next(t for t in targets if t.name == "fastmcp").runs
    for t in targets:
        row: dict[str, object] = {"case": case, "target": t.name, "connections": connections}
        for key in ("rps", "p50_us", "p99_us", "cpu_us"):
            row[key] = round(statistics.median(run[key] for run in t.runs), 1)
        pairs = [(mine["rps"], other["rps"]) for mine, other in zip(t.runs, base, strict=True)]
        row["ratio_to_fastmcp"] = round(statistics.median(a / b for a, b in pairs if b), 2)
        row["errors"] = int(sum(run["errors"] for run in t.runs))
        rows.append(row)
        print(
            f"{case:12} {connections:3} {t.name:9}"
            f" {row['rps']:>9,.0f}/s ×{row['ratio_to_fastmcp']:<6}"
            f" p50 {row['p50_us']:>8,.0f} µs  p99 {row['p99_us']:>8,.0f} µs"
            f"  CPU {row['cpu_us']:>7,.1f} µs  errors {row['errors']}"
        )
    return rows


def get(port: int, path: str) -> str:
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    conn.request("GET", path)
    return conn.getresponse().read().decode()


def private_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def workers_of(target: Target) -> list[int]:
    host = json.loads(get(target.port, "/api/local"))["pid"]
    return [pid for pid in harness.tree_of(host) if pid != host]


def small_numbers(core: int) -> list[dict[str, object]]:
    """An idle worker's own memory, and how long a new one takes."""
    with headgate(core) as target:
        kb = [private_kb(pid) for pid in workers_of(target)]
        for _ in range(20):
            os.kill(workers_of(target)[0], signal.SIGKILL)
            harness.until("a new worker", lambda: full(target), 5, BenchError)
        text = get(target.port, "/metrics")
    values = {
        key: float(line.split()[-1])
        for line in text.splitlines()
        for key in ("sum", "count")
        if line.startswith(f"mcp_local_worker_start_seconds_{key}")
    }
    start_ms = 1000 * values["sum"] / values["count"]
    print(f"idle worker: {max(kb)} KB private; a new one is ready after {start_ms:.1f} ms (mean)")
    return [
        {"case": "local-worker-memory", "target": "headgate", "private_kb": max(kb)},
        {"case": "local-worker-start", "target": "headgate", "mean_ms": round(start_ms, 2)},
    ]


def full(target: Target) -> None:
    pool = json.loads(get(target.port, "/api/local"))["pool"]
    if pool["workers"] <= pool["size"]:
        raise BenchError("the pool is not full")


def save(rows: list[dict[str, object]]) -> Path:
    """Replaces the rows of these cases in results.json."""
    path = harness.OUT / "results.json"
    found = json.loads(path.read_text()) if path.exists() else {"meta": {}, "rows": []}
    cases = {row["case"] for row in rows}
    found["rows"] = [row for row in found["rows"] if row["case"] not in cases] + rows
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="./dev bench local", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="of each run")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16], metavar="C")
    parser.add_argument("--era", choices=["modern", "legacy"], default="legacy")
    options = parser.parse_args()
    harness.build()
    server_core = harness.cores()[0]
    rows: list[dict[str, object]] = []
    with headgate(server_core) as ours, fastmcp(server_core) as theirs:
        for case, tool in TOOLS.items():
            for connections in options.connections:
                measure([ours, theirs], tool, connections, options)
                rows += rows_of(case, [ours, theirs], connections)
    rows += small_numbers(server_core)
    print(save(rows))
    return 1 if any(row.get("errors") for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
