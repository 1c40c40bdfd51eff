"""The gateway as a process: started with a config, ended by its pid, and looked after: a crash or a
sanitizer's report fails the test."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

from wire import Response, http, poll

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("HEADGATE_BIN", ROOT / "build" / "release" / "headgate"))
THREADS = int(os.environ.get("HEADGATE_E2E_THREADS", "0"))
REPORTS = re.compile(
    r"ERROR: AddressSanitizer|runtime error:|WARNING: ThreadSanitizer|LeakSanitizer|"
    r"ERROR: MemorySanitizer|Assertion .* failed|SUMMARY: \w+Sanitizer"
)
START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """A small environment: what sanitizers need, and nothing of the machine's MCP_* settings."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS")
    keep += (
        "TSAN_OPTIONS",
        "LSAN_OPTIONS",
        "ASAN_SYMBOLIZER_PATH",
        "GCOV_PREFIX",
        "LLVM_PROFILE_FILE",
    )
    return {k: os.environ[k] for k in keep if k in os.environ} | (extra or {})


class Gateway:
    """One running gateway."""

    def __init__(
        self,
        config: dict[str, Any],
        folder: Path,
        env: dict[str, str] | None = None,
        args: tuple[str, ...] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / "headgate.json"
        self.config: dict[str, Any] = {"listen": "127.0.0.1:0", "metrics": True} | config
        if THREADS:
            self.config.setdefault("threads", THREADS)
        self.write(self.config)
        self.expected_exit: int | None = 0
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            [str(BIN), "run", "--config", str(self.file), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(env),
            cwd=folder,
        )
        self._drain = threading.Thread(target=self._read_stderr, daemon=True)
        self._drain.start()
        self.hello = self._read_hello()
        self.address = self.hello["listen"][0]
        self.base = f"http://{self.address}"
        self.url = f"{self.base}/mcp"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def host_port(self) -> tuple[str, int]:
        host, port = self.address.rsplit(":", 1)
        return host.strip("[]"), int(port)

    def write(self, config: dict[str, Any]) -> None:
        """Replaces the config file, whole at once."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(config, indent=1))
        new.rename(self.file)

    def _read_stderr(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._lines.append(line.decode("utf-8", "replace"))

    def _read_hello(self) -> dict[str, Any]:
        timer = threading.Timer(START_TIMEOUT, self.process.kill)
        timer.start()
        try:
            assert self.process.stdout
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            self.process.wait(START_TIMEOUT)
            self._drain.join(5)
            raise AssertionError(
                f"headgate did not start ({self.process.returncode}):\n{self.logs}"
            )
        return json.loads(line)

    @property
    def logs(self) -> str:
        return "".join(self._lines)

    def wait_log(self, pattern: str) -> str:
        """Waits until the log has it."""
        return poll(lambda: re.search(pattern, self.logs), why=f"{pattern} in the log").group(0)

    def get(self, path: str, **headers: str) -> Response:
        return http(self.base + path, headers=headers)

    def api(self, path: str) -> Any:
        response = self.get(f"/api/{path}")
        assert response.status == 200, response
        return response.json()

    def upstream(self, name: str) -> dict[str, Any]:
        """The entry of /api/upstreams."""
        listed = self.api("upstreams")
        entries = listed["upstreams"] if isinstance(listed, dict) else listed
        return next(u for u in entries if u["name"] == name)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a series; the sum over all of the family that have these labels."""
        total, found = 0.0, False
        for line in self.get("/metrics").body.decode().splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if not match or match[1] != name:
                continue
            have = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if labels.items() <= have.items():
                total, found = total + float(match[3]), True
        assert found, f"no series {name}{labels}"
        return total

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        code = self.process.wait(timeout)
        self._drain.join(5)
        return code

    def stop(self) -> None:
        """Ends it as an operator would; a second SIGTERM cuts a drain short."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.wait(3)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGTERM)
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"headgate did not stop:\n{self.logs[-4000:]}") from None

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.expected_exit = None
        self.wait()

    def verdict(self) -> str | None:
        """What was wrong with its life, after its end; None when all is well."""
        code = self.process.returncode
        if REPORTS.search(self.logs):
            return f"a sanitizer's report:\n{self.logs[-8000:]}"
        if self.expected_exit is not None and code != self.expected_exit:
            return f"headgate exited with {code}:\n{self.logs[-8000:]}"
        return None


def run_cli(
    *args: str, env: dict[str, str] | None = None, cwd: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """A command of headgate that ends by itself."""
    return subprocess.run(
        [str(BIN), *args],
        env=environment(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
