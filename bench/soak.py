"""A minute of calls through Headgate, then what must hold: no error, flat memory, no call lost.

HEADGATE_BIN is the binary under load (a sanitizer build, say). The last check, memory with ten
upstreams, is of HEADGATE_RELEASE_BIN (build/release/headgate), since a number for a debug build
would say nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import signal
import statistics
import sys
import threading
import time
from pathlib import Path

import calls
import harness
from harness import BenchError, Gateway

RELEASE = Path(os.environ.get("HEADGATE_RELEASE_BIN", harness.RELEASE))
RELEASE_UPSTREAMS, RELEASE_RSS_KB = 10, 15 * 1024
SAMPLES = 60  # of memory, over the whole run
GROWTH_KB, GROWTH_SHARE = 1024, 0.02  # that still is flat, whichever is more
SANITIZER_WORDS = ("Sanitizer", "runtime error:")
# A small quarantine, so that freed memory that is held back does not look like a leak.
SANITIZER_ENV = {"ASAN_OPTIONS": "quarantine_size_mb=4:detect_leaks=1"}
ADMITTED = "mcp_calls_admitted_total"
ENDS = (
    "mcp_calls_answered_total",
    "mcp_calls_failed_total",
    "mcp_calls_cancelled_total",
    "mcp_inflight_requests",
)


class Checks:
    """Prints each verdict and remembers whether all were good."""

    def __init__(self) -> None:
        self.failed = 0

    def that(self, ok: bool, what: str) -> None:
        self.failed += not ok
        print(f"{'ok  ' if ok else 'FAIL'} {what}", flush=True)


def metrics(port: int) -> dict[str, float]:
    """The metrics' values, summed over their labels."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        conn.request("GET", "/metrics")
        answer = conn.getresponse()
        text = answer.read().decode()
    finally:
        conn.close()
    if answer.status != 200:
        raise BenchError(f"/metrics: status {answer.status}: {text[:200]}")
    values: dict[str, float] = {}
    for line in text.splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if name and not name.startswith("#"):
            values[name] = values.get(name, 0) + float(rest.rpartition("}")[2].split()[0])
    return values


def balance(values: dict[str, float]) -> float:
    """Admitted calls that are not accounted for."""
    missing = [name for name in (ADMITTED, *ENDS) if name not in values]
    if missing:
        raise BenchError(f"/metrics has no {', '.join(missing)}")
    return values[ADMITTED] - sum(values[name] for name in ENDS)


def write_request(gateway: Gateway) -> list[Path]:
    made = calls.tools_call("bench_echo", True)
    patient = (calls.WrongAnswer, OSError, http.client.HTTPException)
    harness.until("first call", lambda: calls.check_call(gateway.port, made, True), 20, *patient)
    path = harness.OUT / "soak.http"
    path.write_bytes(made.wire(gateway.port))
    return [path]


class Watch(threading.Thread):
    """Samples the gateway's memory until told to stop."""

    def __init__(self, pid: int, every: float) -> None:
        super().__init__(daemon=True)
        self.pid, self.every, self.done = pid, every, threading.Event()
        self.samples: list[int] = []

    def run(self) -> None:
        while not self.done.wait(self.every):
            self.samples.append(harness.rss_kb(self.pid))

    def stop(self) -> list[int]:
        self.done.set()
        self.join()
        return self.samples


def check_flat(checks: Checks, samples: list[int]) -> None:
    """The last third against the middle one; the first is warm-up."""
    third = len(samples) // 3
    if third == 0:
        checks.that(False, "memory: the run was too short to say")
        return
    middle, last = samples[third : 2 * third], samples[-third:]
    growth = statistics.median(last) - statistics.median(middle)
    allowed = max(GROWTH_KB, GROWTH_SHARE * statistics.median(middle))
    series = " ".join(f"{kb / 1024:.1f}" for kb in samples[:: max(1, len(samples) // 8)])
    checks.that(growth <= allowed, f"memory is flat: {growth:+.0f} KiB; MB over time: {series}")


def check_conservation(checks: Checks, gateway: Gateway, before: float, calls_sent: float) -> None:
    """The load has its answers; what ends a call in the gateway may come a moment later."""
    end = time.monotonic() + 5
    values = metrics(gateway.admin_port)
    while balance(values) or values["mcp_inflight_requests"]:
        if time.monotonic() > end:
            break
        time.sleep(0.05)
        values = metrics(gateway.admin_port)
    counts = ", ".join(f"{name[4:]} {values[name]:.0f}" for name in (ADMITTED, *ENDS))
    checks.that(balance(values) == 0, f"no call lost or counted twice: {counts}")
    admitted = values[ADMITTED] - before
    checks.that(
        admitted == calls_sent and not values["mcp_inflight_requests"],
        f"each call sent was admitted once and has ended: {calls_sent:.0f}, {admitted:.0f}",
    )


def check_end(checks: Checks, gateway: Gateway) -> None:
    checks.that(gateway.process.alive(), "still running after the load")
    status = gateway.process.end(30)
    checks.that(status == 0, f"exit status {status} after SIGTERM")
    said = gateway.process.log.read_text(errors="replace")
    bad = [line for line in said.splitlines() if any(word in line for word in SANITIZER_WORDS)]
    checks.that(not bad, f"sanitizers: {bad[0] if bad else 'nothing to say'}")


def soak_gateway(checks: Checks, gateway: Gateway, options: argparse.Namespace) -> None:
    files = write_request(gateway)
    before = metrics(gateway.admin_port).get(ADMITTED, 0)
    watch = Watch(gateway.process.pid, options.seconds / SAMPLES)
    watch.start()
    core = harness.cores()[1]
    try:
        run = harness.load(
            core, gateway.port, options.connections, options.seconds, calls.MARKER, files
        )
    finally:
        samples = watch.stop()
    first = f"; first: {run['first_error']}" if run["errors"] else ""
    checks.that(
        run["errors"] == 0 and run["requests"] > 0,
        f"{run['requests']:.0f} calls, {run['rps']:,.0f}/s, {run['errors']:.0f} errors{first}",
    )
    check_flat(checks, samples)
    check_conservation(checks, gateway, before, run["requests"] + run["errors"])


def soak(checks: Checks, options: argparse.Namespace) -> None:
    proxy, rest = harness.cores()
    env = {name: os.environ.get(name, value) for name, value in SANITIZER_ENV.items()}
    with (
        harness.stub(rest) as port,
        harness.headgate(harness.HEADGATE, proxy, {"bench": port}, "modern", env) as gateway,
    ):
        try:
            soak_gateway(checks, gateway, options)
        finally:
            check_end(checks, gateway)  # a gateway that fell over says why in its log


def release_memory(checks: Checks) -> None:
    """What the shipped binary weighs with ten upstreams, after two seconds of calls."""
    proxy, rest = harness.cores()
    with contextlib.ExitStack() as stack:
        names = ["bench", *(f"u{i}" for i in range(1, RELEASE_UPSTREAMS))]
        upstreams = {name: stack.enter_context(harness.stub(rest)) for name in names}
        gateway = stack.enter_context(harness.headgate(RELEASE, proxy, upstreams, "modern"))
        files = write_request(gateway)
        tools = RELEASE_UPSTREAMS * 10
        harness.until(
            "all upstreams",
            lambda: calls.check_list(gateway.port, calls.tools_list(True), tools),
            20,
            calls.WrongAnswer,
        )
        run = harness.load(rest, gateway.port, 16, 2, calls.MARKER, files)
        checks.that(run["errors"] == 0, f"release build: {run['requests']:.0f} calls without error")
        kb, limit = harness.rss_kb(gateway.process.pid), RELEASE_RSS_KB
        what = f"{kb / 1024:.1f} MB, at most {limit // 1024}, all its processes together"
        checks.that(kb <= limit, f"release build, {RELEASE_UPSTREAMS} upstreams: {what}")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="bench/soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    checks = Checks()
    harness.build()
    for binary, check in (
        (harness.HEADGATE, lambda: soak(checks, options)),
        (RELEASE, lambda: release_memory(checks)),
    ):
        try:
            if binary.exists():
                check()
            else:
                checks.that(False, f"{binary}: missing")
        except (BenchError, OSError, http.client.HTTPException) as error:
            checks.that(False, str(error) or type(error).__name__)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
