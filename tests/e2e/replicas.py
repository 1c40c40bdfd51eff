"""What several replicas need beside a Redis: ports, and a balancer that spreads connections."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _end(s: socket.socket) -> None:
    with contextlib.suppress(OSError):
        s.shutdown(socket.SHUT_RDWR)


class Balancer:
    """A TCP proxy; every connection goes to the next of its targets that takes it."""

    def __init__(self, targets: Callable[[], list[tuple[str, int]]]) -> None:
        self.targets, self._turn = targets, itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: set[socket.socket] = set()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://{self.address}/mcp"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connect(self) -> socket.socket | None:
        targets, first = self.targets(), next(self._turn)
        for n in range(len(targets)):
            try:
                return socket.create_connection(targets[(first + n) % len(targets)], timeout=5)
            except OSError:
                continue
        return None

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        if server is None:
            client.close()
            return
        server.settimeout(None)
        self._open |= {client, server}
        back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
        back.start()
        self._copy(client, server)
        back.join()
        self._open -= {client, server}
        client.close()
        server.close()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        _end(source)
        _end(sink)

    def close(self) -> None:
        self._listener.close()
        for s in list(self._open):
            _end(s)
