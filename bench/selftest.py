"""The bench's own test: a load that counts a wrong answer as right would prove anything.

stub and load are built with sanitizers; the load meets servers that misbehave in one way each.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import calls
import harness

OUT = harness.OUT / "selftest"
FLAGS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
Reply = Callable[[bytes, int], list[bytes]]  # request's id, its number -> pieces that are sent


def body_of(id_text: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":' + id_text + b',"result":{"content":"bench-ok"}}'


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def right(request_id: bytes, _: int) -> list[bytes]:
    return [answer(body_of(request_id))]


def in_small_pieces(request_id: bytes, _: int) -> list[bytes]:
    whole = chunked(body_of(request_id), 3)
    return [whole[i : i + 5] for i in range(0, len(whole), 5)]


def closing(request_id: bytes, _: int) -> list[bytes]:
    whole = right(request_id, 0)[0].replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    return [whole, b""]


def every_third(wrong: Callable[[bytes], list[bytes]]) -> Reply:
    return lambda request_id, n: wrong(request_id) if n % 3 == 0 else right(request_id, n)


GOOD: dict[str, Reply] = {
    "an answer": right,
    "a chunked answer in small pieces": in_small_pieces,
    "an answer that closes": closing,
}
BAD: dict[str, Reply] = {
    "another status": every_third(lambda i: [answer(body_of(i), b"503 Busy")]),
    "the id of another call": every_third(lambda i: [answer(body_of(b"7" + i[1:]))]),
    "no expected text": every_third(lambda i: [answer(body_of(i).replace(b"bench", b"b"))]),
    "an answer cut off": every_third(lambda i: [answer(body_of(i))[:-4], b""]),
    "no answer but an end": every_third(lambda i: [b""]),
    "two answers": every_third(lambda i: [answer(body_of(i)) * 2]),
    "a chunk size that is none": every_third(
        lambda i: [chunked(body_of(i), 20).replace(b"\r\n\r\n14\r\n", b"\r\n\r\n1x\r\n"), b""]
    ),
    "both length and chunks": every_third(
        lambda i: [chunked(body_of(i), 20).replace(b"Tr", b"Content-Length: 5\r\nTr", 1), b""]
    ),
}


def serve_one(conn: socket.socket, reply: Reply) -> None:
    """One connection; an empty piece closes it."""
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(OSError), conn, conn.makefile("rb") as stream:
        for number in range(1, sys.maxsize):
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line[15:])
            found = re.search(rb'"id":(\d+)', stream.read(length))
            if not found:
                return
            for piece in reply(found[1], number):
                if not piece:
                    return
                conn.sendall(piece)


@contextlib.contextmanager
def server(reply: Reply) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    conn = listener.accept()[0]
                    threading.Thread(target=serve_one, args=(conn, reply), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def load(port: int, expect: str = calls.MARKER) -> dict[str, float]:
    request = OUT / "request.http"
    request.write_bytes(calls.tools_call("echo", True).wire(port))
    argv = [OUT / "load", "--port", port, "--connections", 3, "--ms", 200, "--expect", expect]
    done = subprocess.run([*map(str, argv), request], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"load: {done.stderr}")
    return json.loads(done.stdout)


def check(ok: bool, what: str) -> bool:
    print("ok  " if ok else "FAIL", what, flush=True)
    return ok


def load_counts() -> Iterator[bool]:
    for what, reply in GOOD.items():
        with server(reply) as port:
            run = load(port)
        yield check(run["requests"] > 0 and run["errors"] == 0, f"load takes {what}")
    for what, reply in BAD.items():
        with server(reply) as port:
            run = load(port)
        yield check(run["requests"] > 0 and run["errors"] > 0, f"load refuses {what}")


def raw(port: int, pieces: list[bytes]) -> bytes:
    """All that the stub says to these bytes, each piece in a packet of its own."""
    with socket.create_connection(("127.0.0.1", port), 10) as conn:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            conn.sendall(piece)
        conn.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: conn.recv(65536), b""))


def stub_answers() -> Iterator[bool]:
    made = calls.tools_call("echo", True)
    odd = made.body.replace(b'"id":1000000', b'"x":{"id":3,"method":"}"},"id":"a\\"b"')
    odd_request = calls.Request(made.headers, odd)
    with stub("--tools", 25) as port:
        wire = made.wire(port)
        calls.check_call(port, made, True)
        calls.check_list(port, calls.tools_list(True), 25)
        yield check(b"389" in raw(port, [wire]), "stub answers a call with 389 bytes")
        pieces = [wire[i : i + 50] for i in range(0, len(wire), 50)]
        yield check(raw(port, pieces).count(b"bench-ok") == 1, "stub takes a request in pieces")
        yield check(raw(port, [wire * 3]).count(b"bench-ok") == 3, "stub takes pipelined requests")
        said = raw(port, [odd_request.wire(port)])
        yield check(rb'"id":"a\"b",' in said, "stub echoes the message's own id, a string too")
        said = raw(port, [calls.tools_call("bench_echo", True).wire(port)])
        yield check(b"-32602" in said, "stub refuses a name that nobody mapped")
        said = raw(port, [b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n"])
        yield check(b" 405 " in said, "stub refuses GET")
    with stub("--legacy", "--sse") as port:
        calls.open_session(port)
        calls.check_call(port, calls.tools_call("echo", False), False)
        said = raw(port, [calls.tools_call("echo", False).wire(port)])
        yield check(b"text/event-stream" in said, "stub answers as an event stream")
        run = load(port)
        yield check(run["requests"] > 0 and run["errors"] == 0, "load reads event streams")
    with stub("--result-bytes", 4 << 20) as port:
        run = load(port)
        whole = run["body_min"] == run["body_max"] == 4 << 20
        yield check(whole and run["errors"] == 0, "4 MiB go through both")


@contextlib.contextmanager
def stub(*flags: str | int) -> Iterator[int]:
    core = harness.cores()[1]
    with harness.running([OUT / "stub", *flags], core, "selftest") as process:
        yield int(process.first_line()["port"])
        if not process.alive():
            sys.exit(f"stub ended: {process.log.read_text()}")


def main() -> int:
    os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")  # load frees nothing at its end
    harness.build(OUT, FLAGS)
    results = [*load_counts(), *stub_answers()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
