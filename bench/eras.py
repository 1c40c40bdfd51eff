"""What it costs that eras cross: plain calls in all four pairs, and the memory of what waits.

A pair is warm before it is measured; then every call must be one request upstream, which the
stub's own counter says. Crossed pairs must reach 0.85 of the calls a second of the same client
before a server of its era, in the same round. A parked call and an idle GET stream must cost the
gateway at most 4 KiB each.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import resource
import signal
import socket
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import calls
import harness
from harness import BenchError

PAIRS = {
    f"{c}-to-{s}": (c == "modern", s == "modern")
    for c in ("modern", "legacy")
    for s in ("modern", "legacy")
}
LEAST_RATIO, MOST_BYTES = 0.85, 4096
BATCH = 200
WARM = 200  # parked calls before the first look at the memory


class Pair:
    def __init__(self, stack: contextlib.ExitStack, name: str, connections: int) -> None:
        self.name = name
        self.client, self.server = PAIRS[name]
        proxy, rest = harness.cores()
        flags = [] if self.server else ["--legacy"]
        self.stub = stack.enter_context(harness.stub(rest, *flags))
        era = "modern" if self.server else "legacy"
        mounts = {"bench": self.stub}
        gateway = stack.enter_context(harness.headgate(harness.HEADGATE, proxy, mounts, era))
        self.port, self.connections = gateway.port, connections
        self.files: list[Path] = []
        self.rps: list[float] = []
        self.problem = ""
        self.prepare()

    def prepare(self) -> None:
        patient = (calls.WrongAnswer, OSError, http.client.HTTPException)
        for i in range(1 if self.client else self.connections):
            session = None if self.client else calls.open_session(self.port)
            made = calls.tools_call("bench_echo", self.client, session)
            harness.until(self.name, lambda made=made: self.check(made), 10, *patient)
            path = harness.OUT / "requests" / f"{self.name}-{i}.http"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(made.wire(self.port))
            self.files.append(path)

    def check(self, made: calls.Request) -> None:
        calls.check_call(self.port, made, self.client)

    def load(self, seconds: float) -> dict[str, float]:
        core = harness.cores()[1]
        return harness.load(core, self.port, self.connections, seconds, calls.MARKER, self.files)

    def upstream_calls(self) -> int:
        asked = calls.Request({}, calls.message("bench/count", None))
        return int(str(calls.result_of(self.stub, asked)["calls"]))

    def measure(self, seconds: float) -> None:
        before = self.upstream_calls()
        run = self.load(seconds)
        sent = self.upstream_calls() - before
        self.rps.append(run["rps"])
        if run["errors"]:
            self.problem = str(run["first_error"])
        # Those that the load did not wait for at its end may be among them.
        if not run["requests"] <= sent <= run["requests"] + self.connections:
            self.problem = f"{run['requests']} calls were {sent} requests upstream"


def measure_pairs(options: argparse.Namespace) -> list[dict[str, object]]:
    with contextlib.ExitStack() as stack:
        pairs = {name: Pair(stack, name, options.connections) for name in PAIRS}
        for pair in pairs.values():
            pair.load(0.5)
        order = list(pairs)
        for turn in range(options.rounds):
            for name in order[turn % 4 :] + order[: turn % 4]:
                pairs[name].measure(options.seconds)
    rows: list[dict[str, object]] = []
    for pair in pairs.values():
        own = pairs["modern-to-modern" if pair.client else "legacy-to-legacy"]
        ratio = statistics.median(a / b for a, b in zip(pair.rps, own.rps))
        rows.append(
            {
                "pair": pair.name,
                "rps": round(statistics.median(pair.rps)),
                "ratio_to_own_era": round(ratio, 3),
                "problem": pair.problem,
                "ok": not pair.problem and ratio >= LEAST_RATIO,
            }
        )
    return rows


def open_all(port: int, requests: list[bytes], until: bytes) -> list[socket.socket]:
    """Sends each on a connection of its own and reads until the mark; a batch at a time."""
    out: list[socket.socket] = []
    for at in range(0, len(requests), BATCH):
        batch = []
        for request in requests[at : at + BATCH]:
            conn = socket.create_connection(("127.0.0.1", port), 30)
            conn.sendall(request)
            batch.append(conn)
        for conn in batch:
            got = b""
            while until not in got:
                piece = conn.recv(65536)
                if not piece:
                    raise BenchError(f"no {until!r} in {got[:300]!r}")
                got += piece
        out += batch
    return out


def per_item(name: str, before_kb: int, after_kb: int, count: int) -> dict[str, object]:
    each = (after_kb - before_kb) * 1024 // count
    return {"what": name, "count": count, "bytes_each": each, "ok": each <= MOST_BYTES}


def asking_call(port: int, n: int) -> bytes:
    meta = calls.META | {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    params = {"name": "bench_ask", "arguments": {"n": n}, "_meta": meta}
    headers = {"MCP-Protocol-Version": calls.MODERN, "Mcp-Method": "tools/call"}
    headers |= {"Mcp-Name": "bench_ask"}
    return calls.Request(headers, calls.message("tools/call", params)).wire(port)


@contextlib.contextmanager
def gateway(options: str, upstream: int, era: str) -> Iterator[tuple[int, int]]:
    """A gateway with these options before one upstream: its port and pid."""
    config = harness.OUT / "eras.yaml"
    url = f"http://127.0.0.1:{upstream}/mcp"
    mount = f"upstreams:\n  bench: {{ url: '{url}', era: {era} }}\n"
    config.write_text(f"listen: 127.0.0.1:0\n{options}\n{mount}")
    argv = [harness.HEADGATE, "run", "--config", config]
    with harness.running(argv, harness.cores()[0], "headgate", {"LOG_LEVEL": "WARNING"}) as run:
        yield int(str(run.first_line()["listen"][0]).rpartition(":")[2]), run.pid


def measure_parked(count: int) -> dict[str, object]:
    """The clients' connections are closed again: what stays is the parked call's."""
    argv = ["/usr/bin/python3", "-B", harness.HERE / "asking.py"]
    with harness.running(argv, harness.cores()[1], "asking") as server:
        upstream = int(str(server.first_line()["port"]))
        with gateway("parked: { perPrincipal: 100000 }", upstream, "legacy") as (port, pid):

            def park(numbers: range) -> None:
                wires = [asking_call(port, n) for n in numbers]
                for conn in open_all(port, wires, b"input_required"):
                    conn.close()

            park(range(WARM))
            before = harness.rss_kb(pid)
            park(range(WARM, WARM + count))
            return per_item("parked call", before, harness.rss_kb(pid), count)


def open_stream(port: int, session: str) -> bytes:
    fields = {"Host": f"127.0.0.1:{port}", "Accept": "text/event-stream"}
    fields |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": calls.LEGACY}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET /mcp HTTP/1.1\r\n{head}\r\n".encode()


def measure_streams(count: int) -> dict[str, object]:
    """Sessions are made first: what is counted is an open stream with its connection."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(harness.stub(harness.cores()[1]))
        limits = "maxConnections: 40000\nmaxSessions: 40000"
        port, pid = stack.enter_context(gateway(limits, upstream, "modern"))
        sessions = [str(calls.open_session(port)) for _ in range(count)]
        before = harness.rss_kb(pid)
        wires = [open_stream(port, session) for session in sessions]
        streams = open_all(port, wires, b"\r\n\r\n")
        row = per_item("idle GET stream", before, harness.rss_kb(pid), count)
        for conn in streams:
            conn.close()
        return row


def print_pairs(rows: list[dict[str, object]]) -> None:
    print(f"{'':18}{'calls/s':>10}{'× own era':>11}")
    for row in rows:
        verdict = "ok" if row["ok"] else f"FAIL {row['problem']}"
        print(f"{row['pair']:18}{row['rps']:>10,}{row['ratio_to_own_era']:>11}  {verdict}")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="bench/run eras", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of each run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--parked", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=10000)
    options = parser.parse_args()
    if not harness.HEADGATE.exists():
        raise BenchError(f"no gateway at {harness.HEADGATE}; HEADGATE_BIN names another")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    harness.build()
    pairs = measure_pairs(options)
    print_pairs(pairs)
    memory = [measure_parked(options.parked), measure_streams(options.streams)]
    for row in memory:
        verdict = "ok" if row["ok"] else f"FAIL over {MOST_BYTES}"
        print(f"{row['what']}: {row['bytes_each']} bytes each of {row['count']:,}  {verdict}")
    results = harness.OUT / "eras.json"
    results.write_text(json.dumps({"pairs": pairs, "memory": memory}, indent=1) + "\n")
    print(results)
    return 0 if all(row["ok"] for row in pairs + memory) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
