"""What rate limits and the result cache cost a call: gateways with and without them, in turn."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import socket
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import calls
import harness
from harness import BenchError

PLAIN = "plain"
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8="
LIMIT = "limits: { default: 1000000000/min }\n"
CACHE = 'cache: { tools: { "*": { ttl: 1h } } }\n'
CONFIGS = {
    PLAIN: "",
    "limited-memory": LIMIT,
    "limited-redis": "{redis}" + LIMIT,
    "cached-memory": CACHE,
    "cached-redis": "{redis}" + CACHE,
}
MEASURES = {"rps": 0, "cpu_us": 2, "p50_us": 1, "p99_us": 1}


@dataclass
class Target:
    name: str
    port: int
    pid: int
    files: list[Path] = field(default_factory=list)
    runs: list[dict[str, float]] = field(default_factory=list)
    errors: int = 0


@contextlib.contextmanager
def redis_server(core: int) -> Iterator[int]:
    port = harness.free_port()
    argv = ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir"]
    with harness.running([*argv, str(harness.OUT)], core, "redis-server"):
        harness.until("redis-server", lambda: commands(port), 10, OSError)
        yield port


def commands(port: int) -> int:
    """How many commands Redis has run, those inside of scripts not counted."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(b"*2\r\n$4\r\nINFO\r\n$12\r\ncommandstats\r\n")
        text = b""
        while not text.endswith(b"\r\n\r\n") and b"evalsha" not in text.rpartition(b"\r\n")[0]:
            chunk = s.recv(65536)
            if not chunk:
                break
            text += chunk
            if len(chunk) < 65536:
                break
    lines = [line for line in text.decode().splitlines() if line.startswith("cmdstat_evalsha")]
    return int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0


def prepare(case: str, target: Target, headers: dict[str, str]) -> None:
    made = calls.tools_call("bench_echo", True)
    made.headers.update(headers)
    patient = (calls.WrongAnswer, OSError, http.client.HTTPException)
    harness.until(target.name, lambda: calls.check_call(target.port, made, True), 10, *patient)
    path = harness.OUT / "requests" / f"{case}-{target.name}.http"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(made.wire(target.port))
    target.files.append(path)


def measure(target: Target, redis: int | None, options: argparse.Namespace) -> None:
    core = harness.cores()[1]
    cpu, asked = harness.cpu_us(target.pid), commands(redis) if redis else 0
    run = harness.load(
        core, target.port, options.connections, options.seconds, calls.MARKER, target.files
    )
    target.errors += int(run["errors"])
    run["cpu_us"] = (harness.cpu_us(target.pid) - cpu) / max(run["requests"], 1)
    if redis:
        run["scripts"] = (commands(redis) - asked) / max(run["requests"], 1)
    target.runs.append(run)


def take_turns(targets: list[Target], redis: int | None, options: argparse.Namespace) -> None:
    """Each round starts with another target; what the first one finds is thrown away."""
    for round_no in range(options.rounds + 1):
        turn = round_no % len(targets)
        for target in targets[turn:] + targets[:turn]:
            measure(target, redis, options)
        if round_no == 0:
            for target in targets:
                target.runs.clear()


def rows_of(
    case: str, targets: list[Target], options: argparse.Namespace
) -> list[dict[str, object]]:
    plain = next(target for target in targets if target.name == PLAIN).runs
    rows = []
    for target in targets:
        row: dict[str, object] = {"case": case, "target": target.name}
        row |= {"connections": options.connections, "errors": target.errors}
        for key, digits in MEASURES.items():
            row[key] = round(statistics.median(run[key] for run in target.runs), digits)
        pairs = list(zip(target.runs, plain))
        row["rps_to_plain"] = round(statistics.median(a["rps"] / b["rps"] for a, b in pairs), 3)
        row["cpu_us_over_plain"] = round(
            statistics.median(a["cpu_us"] - b["cpu_us"] for a, b in pairs), 2
        )
        if "scripts" in target.runs[0]:
            scripts = statistics.median(run["scripts"] for run in target.runs)
            row["scripts_per_call"] = round(scripts, 3)
        rows.append(row)
    return rows


def save(case: str, rows: list[dict[str, object]]) -> None:
    """Replaces the rows of a case in the results and leaves the others."""
    path = harness.OUT / "results.json"
    found = json.loads(path.read_text()) if path.exists() else {"meta": {}, "rows": []}
    found["rows"] = [row for row in found["rows"] if row["case"] != case] + rows
    path.write_text(json.dumps(found, indent=1) + "\n")


def show(rows: list[dict[str, object]]) -> None:
    print(
        f"{'':16}{'req/s':>9}{'×plain':>8}{'CPU µs':>9}{'+plain':>8}{'p50 µs':>9}{'p99 µs':>9}"
        f"{'scripts':>9}{'errors':>8}"
    )
    for row in rows:
        print(
            f"{row['target']:16}{row['rps']:>9,.0f}{row['rps_to_plain']:>8.2f}"
            f"{row['cpu_us']:>9.2f}{row['cpu_us_over_plain']:>8.2f}{row['p50_us']:>9.0f}"
            f"{row['p99_us']:>9.0f}{row.get('scripts_per_call', 0):>9.2f}{row['errors']:>8}"
        )


def parse_options(case: str, doc: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"bench/run {case}", description=doc)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    return parser.parse_args()


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = parse_options("limits", __doc__)
    harness.build()
    proxy, rest = harness.cores()
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server(rest))
        upstream = stack.enter_context(harness.stub(rest))
        shared = f"store: redis://127.0.0.1:{redis}\nsealKeys: ['{KEY}']\n"
        targets = []
        for name, lines in CONFIGS.items():
            more = lines.replace("{redis}", shared)
            gateway = stack.enter_context(
                harness.headgate(harness.HEADGATE, proxy, {"bench": upstream}, "modern", more=more)
            )
            targets.append(Target(name, gateway.port, gateway.process.pid))
            prepare("limits", targets[-1], {})
        take_turns(targets, redis, options)
        rows = rows_of("limits", targets, options)
    show(rows)
    save("limits", rows)
    return 1 if any(row["errors"] for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
