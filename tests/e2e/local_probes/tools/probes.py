"""What a hostile tool would try. probe(name) answers "contained: why" or "escaped: what it got"."""

import ctypes
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PROBES: dict[str, Callable[[dict[str, Any]], Any]] = {}


def probing(function: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    PROBES[function.__name__] = function
    return function


def syscall(number: int, *arguments: Any) -> int:
    """A system call by its number on x86_64, past every wrapper."""
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


# ---- secrets and memory of others


@probing
def environment_of_the_gateway(at: dict[str, Any]) -> Any:
    return [k for k, v in os.environ.items() if at["secret"] in v or k.startswith("MCP_AUTH")]


@probing
def proc_self_environ(at: dict[str, Any]) -> Any:
    return at["secret"].encode() in Path("/proc/self/environ").read_bytes()


@probing
def proc_environ_of_the_gateway(at: dict[str, Any]) -> Any:
    return Path(f"/proc/{at['gateway']}/environ").read_bytes()


@probing
def proc_mem_of_the_gateway(at: dict[str, Any]) -> Any:
    return Path(f"/proc/{at['gateway']}/mem").open("rb")


@probing
def proc_maps_of_the_gateway(at: dict[str, Any]) -> Any:
    return Path(f"/proc/{at['gateway']}/maps").read_text()


@probing
def proc_fds_of_the_gateway(at: dict[str, Any]) -> Any:
    return os.listdir(f"/proc/{at['gateway']}/fd")


@probing
def proc_root_of_the_gateway(at: dict[str, Any]) -> Any:
    return os.listdir(f"/proc/{at['gateway']}/root")


@probing
def proc_mem_of_the_zygote(at: dict[str, Any]) -> Any:
    return Path(f"/proc/{os.getppid()}/mem").open("rb")


@probing
def ptrace_the_gateway(at: dict[str, Any]) -> Any:
    return syscall(101, 0x4206, at["gateway"], 0, 0) == 0  # PTRACE_SEIZE


@probing
def ptrace_the_zygote(at: dict[str, Any]) -> Any:
    return syscall(101, 0x4206, os.getppid(), 0, 0) == 0


@probing
def process_vm_readv(at: dict[str, Any]) -> Any:
    room = ctypes.create_string_buffer(8)
    iov = struct.pack("QQ", ctypes.addressof(room), 8)
    there = struct.pack("QQ", 0x400000, 8)
    return syscall(310, at["gateway"], iov, 1, there, 1, 0)


@probing
def pidfd_getfd(at: dict[str, Any]) -> Any:
    return syscall(438, syscall(434, at["gateway"], 0), 0, 0)


@probing
def kcmp(at: dict[str, Any]) -> Any:
    return syscall(312, at["gateway"], os.getppid(), 0, 0, 0) >= 0


@probing
def inherited_descriptors(at: dict[str, Any]) -> Any:
    found = []
    for fd in range(256):
        try:
            os.fstat(fd)
            found.append(fd)
        except OSError:
            pass
    return [fd for fd in found if fd > 8]


# ---- signals


@probing
def signal_the_gateway(at: dict[str, Any]) -> Any:
    os.kill(at["gateway"], 0)
    return True


@probing
def signal_the_zygote(at: dict[str, Any]) -> Any:
    os.kill(os.getppid(), signal.SIGSTOP)
    return True


@probing
def signal_everybody(at: dict[str, Any]) -> Any:
    os.kill(-1, signal.SIGTERM)
    return True


@probing
def signal_a_thread_of_the_gateway(at: dict[str, Any]) -> Any:
    return syscall(200, at["gateway"], 0) == 0  # tkill


@probing
def queue_a_signal(at: dict[str, Any]) -> Any:
    return syscall(129, at["gateway"], 0, ctypes.create_string_buffer(128)) == 0


# ---- files


@probing
def read_passwd(at: dict[str, Any]) -> Any:
    return Path("/etc/shadow").read_text()


@probing
def read_the_configuration(at: dict[str, Any]) -> Any:
    return Path(at["config"]).read_text()


@probing
def list_root(at: dict[str, Any]) -> Any:
    return os.listdir("/")


@probing
def list_tmp(at: dict[str, Any]) -> Any:
    return os.listdir(at["folder"])


@probing
def read_through_dots(at: dict[str, Any]) -> Any:
    return Path(__file__, "../../../../../..", at["config"]).resolve().read_text()


@probing
def write_tmp(at: dict[str, Any]) -> Any:
    return Path(at["folder"], "escaped").write_text("x")


@probing
def write_beside_itself(at: dict[str, Any]) -> Any:
    return Path(__file__).with_name("planted.py").write_text("x")


@probing
def overwrite_itself(at: dict[str, Any]) -> Any:
    return Path(__file__).write_text("")


@probing
def delete_itself(at: dict[str, Any]) -> Any:
    os.unlink(__file__)
    return True


@probing
def link_a_secret(at: dict[str, Any]) -> Any:
    os.link("/etc/passwd", os.path.join(os.path.dirname(__file__), "x"))
    return True


@probing
def symlink_a_secret(at: dict[str, Any]) -> Any:
    os.symlink("/etc/passwd", os.path.join(os.path.dirname(__file__), "x"))
    return True


@probing
def make_a_device(at: dict[str, Any]) -> Any:
    os.mknod(os.path.join(at["folder"], "dev"), 0o600 | 0o020000, os.makedev(1, 1))
    return True


@probing
def change_a_mode(at: dict[str, Any]) -> Any:
    os.chmod(at["config"], 0o777)
    return os.stat(at["config"]).st_mode & 0o777 == 0o777


@probing
def change_an_owner(at: dict[str, Any]) -> Any:
    os.chown(at["config"], 1, 1)
    return True


@probing
def name_to_handle(at: dict[str, Any]) -> Any:
    return syscall(304, -100, b"/etc/passwd", 0) >= 0  # open_by_handle_at


# ---- the network


@probing
def connect_to_the_gateway(at: dict[str, Any]) -> Any:
    socket.create_connection(("127.0.0.1", at["port"]), 2).close()
    return True


@probing
def connect_to_the_zygote(at: dict[str, Any]) -> Any:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(at["socket"])
    return True


@probing
def bind_a_port(at: dict[str, Any]) -> Any:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
    return True


@probing
def send_a_datagram(at: dict[str, Any]) -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.sendto(b"x", ("127.0.0.1", 9))


@probing
def netlink(at: dict[str, Any]) -> Any:
    return bool(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0))


@probing
def packets(at: dict[str, Any]) -> Any:
    return bool(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))


@probing
def raw_socket(at: dict[str, Any]) -> Any:
    return bool(socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))


@probing
def abstract_socket(at: dict[str, Any]) -> Any:
    with socket.socket(socket.AF_UNIX) as s:
        s.bind("\0headgate-probe")
    return True


@probing
def vsock(at: dict[str, Any]) -> Any:
    return bool(socket.socket(40, socket.SOCK_STREAM, 0))


# ---- processes


@probing
def fork(at: dict[str, Any]) -> Any:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return pid


@probing
def vfork_by_number(at: dict[str, Any]) -> Any:
    return syscall(57)


@probing
def clone_by_number(at: dict[str, Any]) -> Any:
    return syscall(56, 17, 0, 0, 0, 0)


@probing
def clone3_by_number(at: dict[str, Any]) -> Any:
    return syscall(435, struct.pack("11Q", *([0] * 4), 17, *([0] * 6)), 88)


@probing
def run_a_shell(at: dict[str, Any]) -> Any:
    return subprocess.run(["/bin/sh", "-c", "id"], capture_output=True, check=True).stdout


@probing
def become_a_program(at: dict[str, Any]) -> Any:
    os.execv("/bin/true", ["true"])


@probing
def memory_file_to_run(at: dict[str, Any]) -> Any:
    os.execve(os.memfd_create("x"), ["x"], {})


# ---- the kernel's odd corners


@probing
def new_namespace(at: dict[str, Any]) -> Any:
    return syscall(272, 0x10000000) == 0


@probing
def enter_namespace(at: dict[str, Any]) -> Any:
    return syscall(308, 0, 0) == 0


@probing
def mount(at: dict[str, Any]) -> Any:
    return syscall(165, b"none", at["folder"].encode(), b"tmpfs", 0, 0) == 0


@probing
def chroot(at: dict[str, Any]) -> Any:
    os.chroot(at["folder"])
    return True


@probing
def io_uring(at: dict[str, Any]) -> Any:
    return syscall(425, 1, ctypes.create_string_buffer(256))


@probing
def bpf(at: dict[str, Any]) -> Any:
    return syscall(321, 0, ctypes.create_string_buffer(256), 128)


@probing
def perf(at: dict[str, Any]) -> Any:
    return syscall(298, ctypes.create_string_buffer(256), 0, -1, -1, 0)


@probing
def keyring(at: dict[str, Any]) -> Any:
    return syscall(250, 0, -3, 1)


@probing
def userfaultfd(at: dict[str, Any]) -> Any:
    return syscall(323, 0)


@probing
def become_root(at: dict[str, Any]) -> Any:
    os.setuid(0)
    return os.geteuid() == 0


@probing
def dumpable_again(at: dict[str, Any]) -> Any:
    return syscall(157, 4, 1, 0, 0, 0) == 0


@probing
def more_memory(at: dict[str, Any]) -> Any:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, resource.RLIM_INFINITY))
    return True


@probing
def limits_of_the_gateway(at: dict[str, Any]) -> Any:
    return resource.prlimit(at["gateway"], resource.RLIMIT_NOFILE, (1, 1))


@probing
def priority_of_the_gateway(at: dict[str, Any]) -> Any:
    os.setpriority(os.PRIO_PROCESS, at["gateway"], 19)
    return True


@probing
def cores_of_the_gateway(at: dict[str, Any]) -> Any:
    os.sched_setaffinity(at["gateway"], {0})
    return True


@probing
def terminal_input(at: dict[str, Any]) -> Any:
    return syscall(16, 1, 0x5412, b"x") == 0  # TIOCSTI


def probe(name: str, at: dict) -> str:
    """Runs one."""
    try:
        got = PROBES[name](at)
    except (OSError, ValueError, PermissionError, subprocess.SubprocessError) as e:
        return f"contained: {e}"
    return f"escaped: {got!r}"[:200] if got else "contained: nothing to get"


def names() -> list[str]:
    """All that probe knows."""
    return sorted(PROBES)


# ---- tools that do not play fair: what they break must be theirs alone


def memory_bomb() -> int:
    held = []
    while True:
        held.append(bytearray(64 * 1024 * 1024))


def regex_bomb() -> bool:
    import re

    return bool(re.fullmatch(r"(a+)+b", "a" * 64))


def descriptor_bomb() -> str:
    held = []
    try:
        while True:
            held.append(open("/dev/null"))  # noqa: SIM115
    except OSError as e:
        return f"contained at {len(held)}: {e}"


def thread_bomb() -> str:
    gate = threading.Event()
    started = 0
    try:
        for _ in range(20000):
            threading.Thread(target=gate.wait, daemon=True).start()
            started += 1
    except (RuntimeError, MemoryError) as e:
        return f"contained at {started}: {e}"
    finally:
        gate.set()
    return f"started {started}"


def print_flood() -> int:
    for n in range(200000):
        print("flood", n)
    return 1


def stderr_flood() -> int:
    line = b"y" * 100 + b"\n"
    for _ in range(100000):
        os.write(2, line)
    return 1


def line_without_end() -> int:
    while True:
        os.write(3, b"z" * 65536)


def forged_answers() -> int:
    for n in range(200):
        os.write(3, b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"forged":true}}\n' % n)
    return 1


def garbage() -> int:
    for _ in range(100):
        os.write(3, b"\xff\xfe{not json\n")
    return 1


def close_connection() -> int:
    os.close(3)
    return 1


def stop_itself() -> int:
    os.kill(os.getpid(), signal.SIGSTOP)
    return 1


def deaf_loop() -> int:
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def recursion() -> int:
    sys.setrecursionlimit(10**9)

    def down(n: int) -> int:
        return down(n + 1) + 1

    return down(0)


def abort() -> int:
    os.abort()


def leave() -> int:
    sys.exit(5)


def exit_in_a_thread() -> int:
    threading.Thread(target=lambda: os._exit(7)).start()
    threading.Event().wait(5)
    return 1


def kill_itself() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


__timeout__ = 1.5
