"""Calls through Headgate beside nginx, HAProxy and no proxy at all; README.md says how to read."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import calls
import harness
import store_bench
from harness import BenchError

TARGETS = ("direct", "nginx", "haproxy", "headgate")
MOUNTS, TOOLS, TOOL_BYTES = 10, 1000, 400
WARM_UP = 0.3
MEASURES = {"rps": "ratio_to_nginx", "cpu_us": "cpu_ratio", "p50_us": "p50_ratio"} | {
    "p99_us": "p99_ratio",
    "rss_kb": "rss_ratio",
}


@dataclass(frozen=True)
class Case:
    name: str
    about: str
    modern: bool = True  # the client's era
    upstream_modern: bool = True
    stub: tuple[str, ...] = ()
    sse: bool = False
    lists: bool = False
    single: bool = False  # one connection, whatever --connections says


CASES = {
    case.name: case
    for case in (
        Case("call", "tools/call, 304 B to 389 B, both sides 2026-07-28"),
        Case("legacy-call", "the same, both sides 2025-11-25", False, False),
        Case("list", f"tools/list, {TOOLS} tools of {MOUNTS} upstreams", lists=True),
        Case("sse", "call answered as an event stream", stub=("--sse",), sse=True),
        Case("big", "call with a 64 KiB answer", stub=("--result-bytes", "65536")),
        Case("c1", "call on one connection", single=True),
        Case("modern-to-legacy", "2026-07-28 client, 2025-11-25 upstream", upstream_modern=False),
        Case("legacy-to-modern", "2025-11-25 client, 2026-07-28 upstream", modern=False),
    )
}
STORE = "store"  # no calls: what shared state costs
DEFAULT = ("call", "legacy-call", "list", "sse", "big", "c1", STORE)


@dataclass
class Target:
    name: str
    port: int
    pid: int | None  # of the proxy; None: there is none
    files: list[Path] = field(default_factory=list)
    runs: list[dict[str, float]] = field(default_factory=list)
    errors: int = 0
    problem: str = ""
    broken: bool = False  # it takes no part any more


def expected(case: Case) -> str:
    return '"tools":[' if case.lists else calls.MARKER


def prepare(case: Case, target: Target, connections: int) -> None:
    """Asks once and checks the whole answer, then writes the requests of the load."""
    tool = "bench_echo" if target.name == "headgate" else "echo"

    def check_one() -> None:
        session = None if case.modern else calls.open_session(target.port)
        if case.lists:
            calls.check_list(target.port, calls.tools_list(case.modern, session), TOOLS)
        else:
            made = calls.tools_call(tool, case.modern, session)
            calls.check_call(target.port, made, case.modern)

    patient = (calls.WrongAnswer, OSError, http.client.HTTPException)
    harness.until(target.name, check_one, 10, *patient)
    legacy_sessions = connections if not case.modern and target.name == "headgate" else 1
    for i in range(legacy_sessions):
        session = None if case.modern else calls.open_session(target.port)
        made = (
            calls.tools_list(case.modern, session)
            if case.lists
            else calls.tools_call(tool, case.modern, session)
        )
        path = harness.OUT / "requests" / f"{target.name}-{i}.http"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made.wire(target.port))
        target.files.append(path)


def stub_flags(case: Case, modern: bool, mounts: int, prefix_bytes: int) -> list[str | int]:
    flags: list[str | int] = [*case.stub] + ([] if modern else ["--legacy"])
    if case.lists:
        flags += ["--tools", TOOLS // mounts, "--tool-bytes", TOOL_BYTES + prefix_bytes]
    return flags


def start_headgate(stack: contextlib.ExitStack, case: Case, proxy: int, rest: int) -> Target:
    """The gateway and the upstreams that it mounts."""
    mounts = [f"u{i}" for i in range(MOUNTS)] if case.lists else ["bench"]
    flags = stub_flags(case, case.upstream_modern, len(mounts), 0)
    upstreams = {mount: stack.enter_context(harness.stub(rest, *flags)) for mount in mounts}
    era = "modern" if case.upstream_modern else "legacy"
    gateway = stack.enter_context(harness.headgate(harness.HEADGATE, proxy, upstreams, era))
    return Target("headgate", gateway.port, gateway.process.pid)


@contextlib.contextmanager
def targets_of(case: Case, wanted: list[str]) -> Iterator[list[Target]]:
    proxy, rest = harness.cores()
    with contextlib.ExitStack() as stack:
        # What the gateway puts before names ("u0_") makes its list longer: the other one too.
        prefix_bytes = len("u0_") if case.lists else 0
        flags = stub_flags(case, case.modern, 1, prefix_bytes)
        port = stack.enter_context(harness.stub(rest, *flags))
        start: dict[str, Callable[[], Target]] = {
            "direct": lambda: Target("direct", port, None),
            "nginx": lambda: Target(
                "nginx", *stack.enter_context(harness.nginx(proxy, port, not case.sse))
            ),
            "haproxy": lambda: Target(
                "haproxy", *stack.enter_context(harness.haproxy(proxy, port))
            ),
            "headgate": lambda: start_headgate(stack, case, proxy, rest),
        }
        yield [started(name, start[name]) for name in wanted]


def started(name: str, start: Callable[[], Target]) -> Target:
    try:
        return start()
    except BenchError as error:
        return Target(name, 0, None, errors=1, problem=str(error), broken=True)


def measure(case: Case, target: Target, connections: int, seconds: float) -> None:
    """One run; its numbers join the target's."""
    before = harness.cpu_us(target.pid) if target.pid else 0
    core = harness.cores()[1]
    run = harness.load(core, target.port, connections, seconds, expected(case), target.files)
    target.errors += int(run["errors"])
    if run["errors"]:
        target.problem = str(run["first_error"])
    # Ids have one length, so do all answers; a list that lost a tool has another.
    if run["body_max"] - run["body_min"] > 64:
        target.errors += 1
        target.problem = f"answers of {run['body_min']} to {run['body_max']} bytes"
    if target.pid:
        run["cpu_us"] = (harness.cpu_us(target.pid) - before) / max(run["requests"], 1)
        run["rss_kb"] = harness.rss_kb(target.pid)
    target.runs.append(run)


def median(values: list[float], digits: int) -> float | None:
    return round(statistics.median(values), digits) if values else None


def rows_of(case: Case, targets: list[Target], connections: int) -> list[dict[str, object]]:
    """Medians over the rounds; ratios are medians of the rounds' own ratios."""
    base = next(target for target in targets if target.name == "nginx").runs
    rows = []
    for target in targets:
        row: dict[str, object] = {"case": case.name, "target": target.name}
        row["connections"] = connections
        for key, ratio in MEASURES.items():
            row[key] = median([run[key] for run in target.runs if key in run], 1)
            pairs = [(run[key], nginx[key]) for run, nginx in zip(target.runs, base) if key in run]
            row[ratio] = median([mine / other for mine, other in pairs if other], 3)
        row["errors"] = target.errors
        row["problem"] = target.problem
        row["answer_bytes"] = max((run["body_max"] for run in target.runs), default=0)
        rows.append(row)
    return rows


def attempt(target: Target, step: Callable[[], None]) -> None:
    """A step of a target; when it fails, the target is out and the others go on."""
    try:
        if not target.broken:
            step()
    except BenchError as error:
        target.errors += 1
        target.problem, target.broken = str(error), True


def warm_up(case: Case, target: Target, connections: int) -> None:
    core = harness.cores()[1]
    harness.load(core, target.port, connections, WARM_UP, expected(case), target.files)


def run_case(case: Case, connections: int, options: argparse.Namespace) -> list[dict[str, object]]:
    with targets_of(case, options.targets) as targets:
        for target in targets:
            attempt(target, lambda t=target: prepare(case, t, connections))
            attempt(target, lambda t=target: warm_up(case, t, connections))
        for round_no in range(options.rounds):
            turn = round_no % len(targets)  # nobody is always first
            for target in targets[turn:] + targets[:turn]:
                attempt(target, lambda t=target: measure(case, t, connections, options.seconds))
        return rows_of(case, targets, connections)


def cell(value: object, form: str) -> str:
    return "-" if value is None else format(value, form)


def print_rows(case: Case, rows: list[dict[str, object]], connections: int) -> None:
    print(f"\n{case.name}: {case.about}; {connections} connection(s)")
    head = f"{'':9}{'req/s':>9}{'×':>6}{'CPU µs':>9}{'×':>6}{'p50 µs':>9}{'×':>6}"
    print(f"{head}{'p99 µs':>9}{'×':>6}{'RSS MB':>8}{'×':>6}{'errors':>8}")
    for row in rows:
        line = f"{row['target']:9}"
        for key, form, width in (
            ("rps", ",.0f", 9),
            ("cpu_us", ".1f", 9),
            ("p50_us", ",.0f", 9),
            ("p99_us", ",.0f", 9),
            ("rss_kb", ".1f", 8),
        ):
            value = row[key] / 1024 if key == "rss_kb" and row[key] else row[key]
            line += f"{cell(value, form):>{width}}{cell(row[MEASURES[key]], '.2f'):>6}"
        print(f"{line}{row['errors']:>8}")
    for row in rows:
        if row["problem"]:
            print(f"  {row['target']}: {row['problem']}")
    sys.stdout.flush()


def versions() -> dict[str, str]:
    asked = {"nginx": ["/usr/sbin/nginx", "-v"], "haproxy": ["/usr/sbin/haproxy", "-v"]}
    found = {"kernel": platform.release()}
    for name, argv in asked.items():
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        found[name] = (done.stdout + done.stderr).splitlines()[0]
    return found


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each run")
    parser.add_argument("--connections", type=int, nargs="+", default=[64], metavar="C")
    known = ", ".join([*CASES, STORE])
    parser.add_argument("--only", default=",".join(DEFAULT), help=f"cases (or all) of: {known}")
    parser.add_argument("--targets", default=",".join(TARGETS), help="nginx is always run")
    options = parser.parse_args()
    options.cases = [*CASES, STORE] if options.only == "all" else options.only.split(",")
    chosen = set(options.targets.split(",")) | {"nginx"}
    options.targets = [name for name in TARGETS if name in chosen]
    for name in set(options.cases) - {*CASES, STORE} | chosen - set(TARGETS):
        parser.error(f"{name!r} is neither a case ({known}) nor a target ({', '.join(TARGETS)})")
    if options.rounds < 1 or options.seconds <= 0 or min(options.connections) < 1:
        parser.error("rounds, seconds and connections are positive")
    return options


def run_all(options: argparse.Namespace) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name in options.cases:
        if name == STORE:
            rows += (costs := store_bench.rows())
            store_bench.print_costs(costs)
            continue
        case = CASES[name]
        for connections in [1] if case.single else options.connections:
            rows += (made := run_case(case, connections, options))
            print_rows(case, made, connections)
    return rows


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = parse_options()
    missing = "headgate" in options.targets and not harness.HEADGATE.exists()
    if missing:
        options.targets.remove("headgate")
        print(f"headgate: missing ({harness.HEADGATE}); HEADGATE_BIN names another")
    harness.build()
    about = f"{options.rounds} rounds of {options.seconds:g} s; × = of nginx in the same round"
    print(f"{about}; CPU is the proxy's, a request")
    rows = run_all(options)
    meta = {"rounds": options.rounds, "seconds": options.seconds, **versions()}
    results = harness.OUT / "results.json"
    results.write_text(json.dumps({"meta": meta, "rows": rows}, indent=1) + "\n")
    print(f"\n{results}")
    return 1 if missing or any(row.get("errors") for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
