"""What the bench's programs share: building the C programs, processes on their cores, /proc."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import select
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OUT = Path(os.environ.get("BENCH_DIR", ROOT / "build" / "bench"))
RELEASE = ROOT / "build" / "release" / "headgate"
HEADGATE = Path(os.environ.get("HEADGATE_BIN", RELEASE))
CC = ["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]
PR_SET_PDEATHSIG = 1
TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024

T = TypeVar("T")


class BenchError(Exception):
    """Something that stops the run, with words for the one who reads it."""


def build(out: Path = OUT, flags: tuple[str, ...] = ("-O2",)) -> None:
    """Compiles stub and load into out when their sources are newer."""
    out.mkdir(parents=True, exist_ok=True)
    shared = [HERE / "wire.c", HERE / "wire.h"]
    for name in ("stub", "load"):
        source, binary = HERE / f"{name}.c", out / name
        newest = max(path.stat().st_mtime for path in (source, *shared))
        if binary.exists() and binary.stat().st_mtime > newest:
            continue
        done = subprocess.run([*CC, *flags, source, shared[0], "-o", binary], check=False)
        if done.returncode:
            raise BenchError(f"{source.name} does not compile")


def linked(name: str) -> Path:
    """Builds a program that is linked with Headgate's own objects, as CMake does: its path."""
    preset = ["cmake", "--preset", "release"]
    for argv in ([*preset], ["cmake", "--build", "--preset", "release", "-t", name]):
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{name} does not build:\n{done.stdout}{done.stderr}")
    return ROOT / "build" / "release" / name


def cores() -> tuple[int, int]:
    """The core of the proxy, and the one of the load and the upstreams."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        print("bench: one core only: proxy, load and upstream share it", file=sys.stderr)
    return usable[0], usable[min(1, len(usable) - 1)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what: str, attempt: Callable[[], T], seconds: float, *errors: type[Exception]) -> T:
    """Repeats attempt until it raises none of the errors; BenchError when the time is over."""
    end = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except errors as error:
            if time.monotonic() > end:
                raise BenchError(f"{what}: {error}") from error
            time.sleep(0.05)


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name: state, ppid, …"""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def tree_of(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(stat_of(int(entry))[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_us(root: int) -> int:
    """User and system time of the tree so far."""
    ticks = 0
    for pid in tree_of(root):
        with contextlib.suppress(OSError):
            ticks += sum(int(field) for field in stat_of(pid)[11:13])
    return ticks * TICK_US


def rss_kb(root: int) -> int:
    """Resident memory of the tree; pages that its processes share count in each."""
    pages = 0
    for pid in tree_of(root):
        with contextlib.suppress(OSError):
            pages += int(stat_of(pid)[21])
    return pages * PAGE_KB


def born_at(pid: int) -> str:
    """When a process started: with its pid, its identity. Empty when it has ended."""
    with contextlib.suppress(OSError):
        fields = stat_of(pid)
        return "" if fields[0] == "Z" else fields[19]
    return ""


@dataclass
class Process:
    """A process of ours, pinned, ended by its pid, and at the latest when we end."""

    popen: subprocess.Popen[str]
    log: Path

    @property
    def pid(self) -> int:
        return self.popen.pid

    def first_line(self, seconds: float = 20) -> dict[str, object]:
        """The JSON object that a server prints when it listens, or the load at its end."""
        assert self.popen.stdout
        readable, _, _ = select.select([self.popen.stdout], [], [], seconds)
        line = self.popen.stdout.readline() if readable else ""
        if not line:
            said = self.log.read_text(errors="replace").strip().splitlines()
            raise BenchError(f"{self.log.stem}: {said[-1] if said else 'it said nothing'}")
        return json.loads(line)

    def end(self, seconds: float = 10) -> int:
        """Ends the tree, politely first. Returns the exit status, negative for a signal."""
        family = {pid: born_at(pid) for pid in tree_of(self.pid)} if self.alive() else {}
        _signal(self.pid, family, signal.SIGTERM)
        try:
            status = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            _signal(self.pid, family, signal.SIGKILL)
            status = self.popen.wait()
        for pid in family:
            _signal(pid, family, signal.SIGKILL)
        if self.popen.stdout:
            self.popen.stdout.close()
        return status

    def alive(self) -> bool:
        return self.popen.poll() is None


def _signal(pid: int, family: dict[int, str], sig: signal.Signals) -> None:
    """Signals a process unless its pid has ended or is another's by now."""
    if family.get(pid) and born_at(pid) == family[pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sig)


@contextlib.contextmanager
def running(
    argv: list[str | Path], core: int, name: str, env: dict[str, str] | None = None
) -> Iterator[Process]:
    """Runs a program on a core for as long as the block lasts."""
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        os.sched_setaffinity(0, {core})

    log = OUT / f"{name}.log"
    try:
        with log.open("w") as stderr:
            popen = subprocess.Popen(
                [str(arg) for arg in argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # Ctrl-C is for us; we end the others
                preexec_fn=prepare,
            )
    except OSError as error:
        raise BenchError(f"{argv[0]}: {error.strerror}") from error
    process = Process(popen, log)
    try:
        yield process
    finally:
        process.end()


@contextlib.contextmanager
def stub(core: int, *flags: str | int) -> Iterator[int]:
    """An upstream; its port."""
    with running([OUT / "stub", *map(str, flags)], core, "stub") as process:
        yield int(process.first_line()["port"])


def accepting(port: int) -> None:
    until(
        f"port {port}",
        lambda: socket.create_connection(("127.0.0.1", port), 1).close(),
        10,
        OSError,
    )


NGINX = """\
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log {dir}/nginx-error.log;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    client_body_temp_path {dir}/nginx-temp;
    proxy_temp_path {dir}/nginx-temp;
    fastcgi_temp_path {dir}/nginx-temp;
    uwsgi_temp_path {dir}/nginx-temp;
    scgi_temp_path {dir}/nginx-temp;
    upstream stub {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://stub;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_max_temp_file_size 0;
            proxy_buffer_size 64k;
            proxy_buffers 16 64k;
            proxy_busy_buffers_size 128k;
            proxy_buffering {buffering};
        }}
    }}
}}
"""

HAPROXY = """\
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
listen bench
    bind 127.0.0.1:{port}
    server stub 127.0.0.1:{upstream}
"""


@contextlib.contextmanager
def nginx(core: int, upstream: int, buffering: bool = True) -> Iterator[tuple[int, int]]:
    """nginx with one worker in front of the stub: its port and pid."""
    port, config = free_port(), OUT / "nginx.conf"
    (OUT / "nginx-temp").mkdir(exist_ok=True)
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    config.write_text(
        NGINX.format(
            dir=OUT,
            user=user,
            port=port,
            upstream=upstream,
            buffering="on" if buffering else "off",
        )
    )
    argv = ["/usr/sbin/nginx", "-e", OUT / "nginx-error.log", "-c", config]
    with running(argv, core, "nginx") as process:
        accepting(port)
        yield port, process.pid


@contextlib.contextmanager
def haproxy(core: int, upstream: int) -> Iterator[tuple[int, int]]:
    """HAProxy with one thread in front of the stub: its port and pid."""
    port, config = free_port(), OUT / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, upstream=upstream))
    with running(["/usr/sbin/haproxy", "-db", "-f", config], core, "haproxy") as process:
        accepting(port)
        yield port, process.pid


@dataclass
class Gateway:
    process: Process
    port: int
    admin_port: int  # where /metrics is


@contextlib.contextmanager
def headgate(
    binary: Path,
    core: int,
    upstreams: dict[str, int],
    era: str,
    env: dict[str, str] | None = None,
    more: str = "",
) -> Iterator[Gateway]:
    """The gateway in front of stubs, by mount name and port. more: lines of its configuration."""
    config = OUT / f"headgate-{zlib.crc32(more.encode()):08x}.yaml"
    mounts = "".join(
        f"  {name}: {{ url: 'http://127.0.0.1:{port}/mcp', era: {era} }}\n"
        for name, port in upstreams.items()
    )
    config.write_text(f"listen: 127.0.0.1:0\nupstreams:\n{mounts}{more}")
    quiet = {"LOG_LEVEL": "WARNING", "MCP_METRICS_ENABLED": "true", **(env or {})}
    with running([binary, "run", "--config", config], core, "headgate", quiet) as process:
        line = process.first_line()
        ports = [int(str(at).rpartition(":")[2]) for at in line["listen"]]
        admin = [int(str(at).rpartition(":")[2]) for at in line.get("admin") or []]
        yield Gateway(process, ports[0], (admin or ports)[0])


def load(
    core: int, port: int, connections: int, seconds: float, expect: str, files: list[Path]
) -> dict[str, float]:
    """Runs the load to its end: what it printed."""
    argv = [
        *("--port", port, "--connections", connections, "--ms", round(seconds * 1000)),
        *("--expect", expect, *files),
    ]
    with running([OUT / "load", *argv], core, "load") as process:
        return process.first_line(seconds + 30)
