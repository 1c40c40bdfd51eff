"""The long proof of limits and cache over three replicas on one Redis: exact windows under load,
few calls of ten thousand equal ones, and no failed call while Redis is away."""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import calls
import harness
from harness import BenchError
from limits import KEY, redis_server

REPLICAS = 3
TOOLS = 10  # of the stub
LIMIT, WINDOW = 20, 1.0


@contextlib.contextmanager
def fleet(redis: int, upstream: int, more: str) -> Iterator[list[int]]:
    """The ports of the replicas."""
    proxy, _ = harness.cores()
    shared = f"store: redis://127.0.0.1:{redis}\nsealKeys: ['{KEY}']\n"
    with contextlib.ExitStack() as stack:
        ports = []
        for i in range(REPLICAS):
            lines = f"{shared}{more}serverName: replica-{i}\n"
            gateway = stack.enter_context(
                harness.headgate(harness.HEADGATE, proxy, {"bench": upstream}, "modern", more=lines)
            )
            ports.append(gateway.port)
            made = calls.tools_list(True)
            harness.until(
                "the tools",
                lambda p=gateway.port, made=made: calls.check_list(p, made, TOOLS),
                10,
                calls.WrongAnswer,
                OSError,
            )
        yield ports


class Client:
    """One connection that is kept; call() says whether the call was admitted."""

    def __init__(self, port: int) -> None:
        self.wire = calls.tools_call("bench_echo", True).wire(port)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)

    def send(self) -> None:
        self.socket.sendall(self.wire)

    def receive(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        if not head.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"{head[:100]!r}")
        return body

    def _more(self) -> bytes:
        chunk = self.socket.recv(65536)
        if not chunk:
            raise BenchError("a connection was closed")
        return chunk

    def admitted(self) -> bool:
        self.send()
        body = self.receive()
        if b"dev.headgate/rateLimit" in body:
            return False
        if calls.MARKER.encode() not in body:
            raise BenchError(f"not the stub's answer: {body[:200]!r}")
        return True


def windows(ports: list[int], clients: int, seconds: float) -> list[tuple[float, float]]:
    """Calls without pause; when each admitted one was sent and answered."""
    spans: list[tuple[float, float]] = []
    errors: list[Exception] = []
    end = time.monotonic() + seconds

    def run(at: int) -> None:
        try:
            client = Client(ports[at % REPLICAS])
            while (sent := time.monotonic()) < end:
                if client.admitted():
                    spans.append((sent, time.monotonic()))
        except (BenchError, OSError) as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise BenchError(f"{len(errors)} clients failed, the first: {errors[0]}")
    return sorted(spans)


def prove_windows(redis: int, upstream: int, options: argparse.Namespace) -> bool:
    with fleet(redis, upstream, f"limits: {{ default: {LIMIT}/s }}\n") as ports:
        spans = windows(ports, options.clients, options.seconds)
    most = max(
        sum(sent >= start and answered < start + WINDOW for sent, answered in spans)
        for start, _ in spans
    )
    elapsed = spans[-1][1] - spans[0][0]
    least = (LIMIT - 1) * int(elapsed / WINDOW)
    print(
        f"windows: {len(spans)} admitted in {elapsed:.2f} s; at most {most} within {WINDOW:g} s "
        f"(limit {LIMIT}); at least {least} are due"
    )
    return most <= LIMIT and len(spans) >= least


def prove_flight(redis: int, upstream: int, options: argparse.Namespace) -> bool:
    with fleet(redis, upstream, 'cache: { tools: { "*": { ttl: 1h } } }\n') as ports:
        clients = [Client(ports[i % REPLICAS]) for i in range(options.misses)]
        for client in clients:
            client.send()
        for client in clients:
            if calls.MARKER.encode() not in client.receive():
                raise BenchError("not the stub's answer")
            client.socket.close()
        sent = sum(upstream_calls(port) for port in ports)
    print(f"flight: {options.misses} equal calls at once made {sent} calls of the upstream")
    return 1 <= sent <= REPLICAS


def upstream_calls(port: int) -> int:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
    lines = [line for line in text.splitlines() if line.startswith("mcp_cache_misses_total ")]
    return int(float(lines[0].split()[1])) if lines else 0


def prove_outage(redis: subprocess.Popen[bytes], port: int, upstream: int) -> bool:
    with fleet(port, upstream, "limits: { default: 1000000000/min }\n") as ports:
        done = threading.Event()
        answered, failed = [0] * 6, []

        def run(at: int) -> None:
            try:
                client = Client(ports[at % REPLICAS])
                while not done.is_set():
                    answered[at] += client.admitted()
            except (BenchError, OSError) as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(answered))]
        for thread in threads:
            thread.start()
        time.sleep(1)
        redis.send_signal(signal.SIGSTOP)
        time.sleep(2)
        redis.send_signal(signal.SIGCONT)
        time.sleep(1)
        redis.kill()
        time.sleep(2)
        done.set()
        for thread in threads:
            thread.join()
    print(f"outage: {sum(answered)} calls answered, {len(failed)} clients failed {failed[:1]}")
    return not failed and all(answered)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="bench/run shared", description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--misses", type=int, default=9999)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    harness.build()
    _, rest = harness.cores()
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(redis_server(rest))
        upstream = stack.enter_context(harness.stub(rest))
        good = prove_windows(redis, upstream, options)
        good &= prove_flight(redis, upstream, options)
        own = harness.free_port()
        argv = ["redis-server", "--port", str(own), "--bind", "127.0.0.1", "--save", ""]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=harness.OUT)
        stack.callback(process.kill)
        time.sleep(0.5)
        good &= prove_outage(process, own, upstream)
    print("good" if good else "NOT good")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
