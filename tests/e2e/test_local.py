"""Python tools in worker processes: the pool, its failures, hot reload."""

from __future__ import annotations

import json
import os
import signal
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import run_cli
from mcpclient import Client, Legacy, Modern
from processes import descendants, exists, open_files, zombies
from wire import http, poll

Start = Callable[..., Any]
Clients = Callable[[Client], Any]

BASIC = '''
import asyncio, os, time

def add(a: int, b: int) -> int:
    """Adds."""
    return a + b

async def aadd(a: int, b: int) -> int:
    return a + b

def pid() -> int:
    return os.getpid()

async def apid(seconds: float = 0) -> int:
    await asyncio.sleep(seconds)
    return os.getpid()

def die(status: int) -> int:
    os._exit(status)

def segfault() -> int:
    import ctypes
    ctypes.string_at(0)

def hold(path: str) -> int:
    while not os.path.exists(path):
        time.sleep(0.01)
    return os.getpid()

def environment() -> dict[str, str]:
    return dict(os.environ)
'''

SLOW = """
__timeout__ = 0.3

def spin() -> int:
    while True:
        pass

def stubborn() -> int:
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

async def sleeps() -> int:
    import asyncio
    await asyncio.sleep(60)

async def blocks() -> int:
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
"""


@pytest.fixture(params=["legacy", "modern"])
def client_era(request: pytest.FixtureRequest) -> Any:
    return Legacy if request.param == "legacy" else Modern


class Workspace:
    """A folder of tools that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("tools/basic.py", BASIC)

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name("." + file.name + ".new")
        new.write_text(text)
        new.rename(file)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def local(start_gateway: Start, workspace: Workspace) -> Callable[..., Any]:
    """local(option=…) → a gateway with the workspace's tools."""

    def start(
        env: dict[str, str] | None = None, sandbox: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        config = {"local": {"inline": str(workspace.folder), "workers": 2} | options}
        return start_gateway(config | {"sandbox": sandbox or {}}, env=env)

    return start


def names(client: Any) -> list[str]:
    return [t["name"] for t in client.all("tools")]


def test_tools_of_a_folder_are_listed_and_called(
    local: Start, clients: Clients, client_era: Any
) -> None:
    client = clients(client_era(local().url))
    assert {"add", "aadd", "pid"} <= set(names(client))
    for tool in ("add", "aadd"):
        result = client.call(tool, {"a": 2, "b": 3}).result
        assert result["structuredContent"] == {"result": 5} and not result["isError"]
    refused = client.call("add", {"a": "x", "b": 3}).result
    assert refused["isError"] and "a" in refused["content"][0]["text"]


def test_no_client_sees_what_tools_say_to_the_gateway(local: Start, clients: Clients) -> None:
    client = clients(Modern(local().url))
    assert "dev.headgate" not in json.dumps(client.all("tools"))


def test_stands_beside_upstreams_and_under_a_namespace(
    start_gateway: Start, workspace: Workspace, legacy_up: Any, clients: Clients
) -> None:
    inline = {"inline": str(workspace.folder), "namespace": "py"}
    config = {"local": inline, "upstreams": {"up": {"url": legacy_up.url}}}
    client = clients(Modern(start_gateway(config).url))
    assert {"py_add", "up_echo"} <= set(names(client))
    assert client.call("py_add", {"a": 1, "b": 1}).text == "2"


def test_the_command_local_names_a_folder_that_is_not_there(tmp_path: Path) -> None:
    missing = run_cli("local", str(tmp_path / "nowhere"))
    assert missing.returncode == 2 and "is not a folder" in missing.stderr


def test_mode_server_serves_only_local_tools(
    start_gateway: Start, workspace: Workspace, legacy_up: Any, clients: Clients
) -> None:
    env = {"MCP_MODE": "server", "MCP_WORKSPACE": str(workspace.folder)}
    gateway = start_gateway({"upstreams": {"up": {"url": legacy_up.url}}}, env=env)
    assert "add" in names(clients(Modern(gateway.url)))
    assert [u["name"] for u in gateway.api("upstreams")] == ["local"]


@pytest.mark.parametrize(
    ("tool", "arguments", "how"),
    [("die", {"status": 3}, "exited with status 3"), ("segfault", {}, "signal 11")],
)
def test_a_crash_ends_its_call_only(
    local: Start, clients: Clients, tool: str, arguments: Any, how: str
) -> None:
    gateway = local()
    client, other = clients(Modern(gateway.url)), clients(Modern(gateway.url))
    crashes = gateway.api("local")["pool"]["crashes"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.call, "apid", {"seconds": 0.3})
        error = client.call(tool, arguments).error
        assert error["code"] == -32603 and how in error["message"]
        assert error["data"]["reason"] == "upstream_unavailable"
        assert client.call("add", {"a": 1, "b": 2}).text == "3"
        assert not waiting.result().result["isError"]
    poll(lambda: not zombies(gateway.pid), why="the worker is reaped")
    assert gateway.api("local")["pool"]["crashes"] == crashes + 1


@pytest.mark.parametrize("tool", ["spin", "stubborn", "sleeps", "blocks"])
def test_a_tools_time_ends_whatever_it_does(
    local: Start, clients: Clients, workspace: Workspace, tool: str
) -> None:
    workspace.write("tools/slow.py", SLOW)
    gateway = local()
    client, other = clients(Modern(gateway.url)), clients(Modern(gateway.url))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.call, tool, {})
        assert other.call("add", {"a": 1, "b": 2}).text == "3"
        result = waiting.result().result
    assert result["isError"] and "0.3" in result["content"][0]["text"], result
    assert client.call("add", {"a": 1, "b": 2}).text == "3"
    poll(
        lambda: gateway.api("local")["pool"]["busy"] == 0,
        why="what was blocked is ended",
    )


def test_synchronous_calls_have_a_worker_each_and_the_rest_wait(
    local: Start, clients: Clients, workspace: Workspace, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    gateway = local(sandbox={"read": [str(tmp_path)]})
    poll(lambda: gateway.api("local")["pool"]["workers"] == 3, why="all workers are there")
    made = [clients(Modern(gateway.url)) for _ in range(5)]
    with ThreadPoolExecutor(5) as pool:
        waiting = [pool.submit(c.call, "hold", {"path": str(held)}) for c in made]
        poll(lambda: gateway.api("local")["pool"]["queued"] == 3, why="three find no worker")
        held.touch()
        pids = [w.result().text for w in waiting]
    assert len(set(pids)) == 2


def test_more_than_the_queue_holds_is_refused_clearly(
    local: Start, clients: Clients, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    gateway = local(workers=1, queue=1, sandbox={"read": [str(tmp_path)]})
    made = [clients(Modern(gateway.url)) for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(c.call, "hold", {"path": str(held)}) for c in made[:2]]
        poll(lambda: gateway.api("local")["pool"]["queued"] == 1, why="the line is full")
        error = made[2].call("pid", {}).error
        assert error["data"]["reason"] == "upstream_unavailable" and "busy" in error["message"]
        held.touch()
        assert all(w.result().text for w in waiting)


def test_many_asynchronous_calls_share_a_worker(local: Start, clients: Clients) -> None:
    gateway = local(workers=1)
    made = [clients(Modern(gateway.url)) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(c.call, "apid", {"seconds": 0.3}) for c in made]
        assert all(not w.result().result["isError"] for w in waiting)
    assert gateway.api("local")["pool"]["started"] == 2


def test_tools_have_only_the_environment_that_is_granted(local: Start, clients: Clients) -> None:
    secret = {"MCP_SECRET_OF_THE_GATEWAY": "s3cret", "GRANTED": "yes", "OTHER": "no"}
    gateway = local(env=secret, passEnv=["GRANTED"])
    seen = json.loads(clients(Modern(gateway.url)).call("environment").text)
    assert seen["GRANTED"] == "yes"
    assert "s3cret" not in json.dumps(seen) and "OTHER" not in seen


def test_nothing_outlives_a_killed_gateway(local: Start, clients: Clients) -> None:
    gateway = local()
    client = clients(Modern(gateway.url))
    pids = [*descendants(gateway.pid)]
    assert client.call("pid").text
    os.kill(gateway.pid, signal.SIGKILL)
    gateway.expected_exit = None
    gateway.wait()
    poll(lambda: not any(exists(p) for p in pids), why="all workers end with it")


def test_crashes_leak_nothing(local: Start, clients: Clients) -> None:
    gateway = local()
    client = clients(Modern(gateway.url))

    def rest() -> int:
        poll(lambda: gateway.api("local")["pool"]["workers"] == 3, why="the pool is full again")
        return open_files(gateway.pid)

    client.call("die", {"status": 1})
    before = rest()
    for _ in range(20):
        assert "status 1" in client.call("die", {"status": 1}).error["message"]
        assert client.call("add", {"a": 1, "b": 2}).text == "3"
    assert rest() <= before + 1
    poll(lambda: not zombies(gateway.pid), why="all workers are reaped")


# ---- files that change -------------------------------------------------------------------------


def test_changed_files_are_served_at_once_and_clients_hear(
    local: Start, clients: Clients, workspace: Workspace
) -> None:
    gateway = local(hotReload=True)
    client = clients(Legacy(gateway.url))
    stream = client.listen()
    workspace.write("tools/more.py", "def extra() -> int:\n    return 1\n")
    assert stream.until("notifications/tools/list_changed")
    assert "extra" in names(client)
    assert client.call("extra").text == "1"
    workspace.write("tools/more.py", "def extra() -> int:\n    return 2\n")
    poll(lambda: client.call("extra").text == "2", why="the new form is served")
    (workspace.folder / "tools" / "more.py").unlink()
    poll(lambda: "extra" not in names(client), why="deleted files disappear")


def test_a_broken_edit_keeps_the_last_good_form_and_says_so(
    local: Start, clients: Clients, workspace: Workspace
) -> None:
    workspace.write("tools/more.py", "def extra() -> int:\n    return 1\n")
    gateway = local(hotReload=True)
    client = clients(Modern(gateway.url))
    workspace.write("tools/more.py", "def extra( -> int:\n    return 2\n")
    workspace.write("tools/new.py", "def fresh() -> int:\n    return 3\n")
    poll(lambda: "fresh" in names(client), why="what is not broken is loaded")
    assert client.call("extra").text == "1" and client.call("add", {"a": 1, "b": 2}).text == "3"
    (broken,) = gateway.api("local")["broken"]
    assert broken["path"] == "tools/more.py" and broken["served"] == "last good"
    assert broken["error"] and "tools/more.py" in gateway.logs
    workspace.write("tools/more.py", "def extra() -> int:\n    return 4\n")
    poll(lambda: client.call("extra").text == "4", why="a repaired file is served")
    assert gateway.api("local")["broken"] == []


def test_calls_in_flight_end_on_what_they_began_with(
    local: Start, clients: Clients, workspace: Workspace, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    gateway = local(hotReload=True, sandbox={"read": [str(tmp_path)]})
    client, other = clients(Modern(gateway.url)), clients(Modern(gateway.url))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.call, "hold", {"path": str(held)})
        poll(lambda: gateway.api("local")["pool"]["busy"] == 1, why="the call runs")
        workspace.write("tools/more.py", "def extra() -> int:\n    return 1\n")
        poll(lambda: "extra" in names(other), why="the new generation serves")
        assert not waiting.done()
        held.touch()
        assert not waiting.result().result["isError"]


def test_a_configmap_that_is_switched_is_heard_of(
    start_gateway: Start, clients: Clients, tmp_path: Path
) -> None:
    volume = tmp_path / "inline" / "tools"

    def fill(name: str, value: int) -> None:
        (volume / name).mkdir(parents=True)
        (volume / name / "t.py").write_text(f"def value() -> int:\n    return {value}\n")
        (volume / "..data_tmp").symlink_to(name)
        (volume / "..data_tmp").rename(volume / "..data")

    fill("..2026_01", 1)
    (volume / "t.py").symlink_to("..data/t.py")
    gateway = start_gateway({"local": {"inline": str(tmp_path / "inline"), "hotReload": True}})
    client = clients(Modern(gateway.url))
    assert client.call("value").text == "1" and len(names(client)) == 1
    fill("..2026_02", 2)
    poll(lambda: client.call("value").text == "2", why="the new volume is served")


def test_reload_by_request_loads_the_files_again(
    local: Start, clients: Clients, workspace: Workspace
) -> None:
    gateway = local()
    client = clients(Modern(gateway.url))
    workspace.write("tools/more.py", "def extra() -> int:\n    return 1\n")
    assert http(f"{gateway.base}/reload", method="POST").status == 200
    poll(lambda: "extra" in names(client), why="the reload loads it")


def test_reloads_under_load_lose_no_call(
    local: Start, clients: Clients, workspace: Workspace
) -> None:
    gateway = local(hotReload=True)
    made = [clients(Modern(gateway.url)) for _ in range(4)]
    done = threading.Event()

    def call(client: Any) -> int:
        count = 0
        while not done.is_set():
            assert client.call("add", {"a": count, "b": 1}).text == str(count + 1)
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(call, c) for c in made]
        for n in range(5):
            workspace.write("tools/n.py", f"def n() -> int:\n    return {n}\n")
            poll(lambda n=n: gateway.api("local")["generation"] >= n + 2, why="it is loaded")
        done.set()
        assert sum(r.result() for r in running) > 0
    poll(lambda: gateway.api("local")["pool"]["workers"] == 3, why="older workers are gone")


def test_strict_does_not_start_with_a_broken_file(workspace: Workspace, tmp_path: Path) -> None:
    workspace.write("tools/bad.py", "import nothing_that_exists\n")
    done = run_cli(
        "local", str(workspace.folder), "--listen=127.0.0.1:0", "--local.strict=true", cwd=tmp_path
    )
    assert done.returncode == 1 and "bad.py" in done.stderr


def test_links_that_lead_out_of_the_folder_are_not_followed(
    local: Start, clients: Clients, workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "outside.md").write_text("secret")
    (workspace.folder / "knowledge").mkdir()
    (workspace.folder / "knowledge" / "in.md").symlink_to(tmp_path / "outside.md")
    (workspace.folder / "knowledge" / "env.md").symlink_to("/proc/self/environ")
    workspace.write("knowledge/fine.md", "fine")
    gateway = local()
    uris = [r["uri"] for r in clients(Modern(gateway.url)).all("resources")]
    assert uris == ["knowledge://fine.md"]
    assert len(gateway.api("local")["skipped"]) == 2


# ---- what tools want of their callers -----------------------------------------------------------

ASKING = """
from fastmcp import Context

async def greet(ctx: Context) -> str:
    answer = await ctx.elicit("Who are you?", response_type=str)
    return f"hello {answer.data}" if answer.action == "accept" else "nobody"

async def think(ctx: Context) -> str:
    answer = await ctx.sample("Say something")
    return answer.text

async def tell(ctx: Context) -> str:
    await ctx.info("a line")
    await ctx.report_progress(1, 2)
    return "told"

async def keep(value: int, ctx: Context) -> str:
    await ctx.set_state("value", value)
    return "kept"

async def kept(ctx: Context) -> str:
    return str(await ctx.get_state("value"))

async def forget(ctx: Context) -> str:
    await ctx.delete_state("value")
    return "forgotten"
"""
ABLE = {"caps": {"elicitation": {"form": {}}, "sampling": {}}}


def answering(method: str, _params: dict[str, Any]) -> dict[str, Any]:
    if method == "elicitation/create":
        return {"action": "accept", "content": {"value": "you"}}
    text = {"type": "text", "text": "something"}
    return {"role": "assistant", "model": "m", "content": text}


def test_tools_ask_the_client_of_their_own_call(
    local: Start, clients: Clients, workspace: Workspace
) -> None:
    workspace.write("tools/asking.py", ASKING)
    gateway = local(workers=1)
    made = [clients(Legacy(gateway.url, **ABLE)) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        tools = ["greet", "think", "greet", "think"]
        waiting = [
            pool.submit(c.call, tool, {}, answer=answering)
            for c, tool in zip(made, tools, strict=True)
        ]
        told = [w.result().text for w in waiting]
    assert told == ["hello you", "something", "hello you", "something"]


def test_modern_clients_are_asked_by_the_answer(
    local: Start, clients: Clients, workspace: Workspace
) -> None:
    workspace.write("tools/asking.py", ASKING)
    client = clients(Modern(local().url, **ABLE))
    first = client.call("greet").result
    assert first["resultType"] == "input_required"
    answers = {key: answering(r["method"], {}) for key, r in first["inputRequests"].items()}
    params = {"name": "greet", "arguments": {}, "inputResponses": answers}
    params["requestState"] = first["requestState"]
    assert client.request("tools/call", params).text == "hello you"


def test_progress_and_log_lines_reach_their_caller(
    local: Start, clients: Clients, workspace: Workspace
) -> None:
    workspace.write("tools/asking.py", ASKING)
    client = clients(Modern(local().url))
    reply = client.call("tell", token="t")
    (progress,) = reply.sent("notifications/progress")
    assert progress["progressToken"] == "t" and progress["progress"] == 1


def test_state_of_a_session_is_the_sessions_alone(
    local: Start, clients: Clients, workspace: Workspace
) -> None:
    workspace.write("tools/asking.py", ASKING)
    gateway = local()
    one, two = clients(Legacy(gateway.url)), clients(Legacy(gateway.url))
    for client, value in ((one, 1), (two, 2)):
        assert client.call("keep", {"value": value}).text == "kept"
    one.call("die", {"status": 1})
    assert [c.call("kept").text for c in (one, two, one)] == ["1", "2", "1"]
    one.call("forget")
    assert [c.call("kept").text for c in (one, two)] == ["None", "2"]


# ---- packages -----------------------------------------------------------------------------------


def wheel(folder: Path, name: str, version: str, code: str) -> Path:
    """A wheel of one module."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(f"{name}.py", code)
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        z.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        z.writestr(f"{info}/RECORD", "")
    return path


def test_packages_are_installed_before_tools_are_loaded(
    local: Start, clients: Clients, workspace: Workspace, tmp_path: Path
) -> None:
    wheels = wheel(tmp_path / "wheels", "hgprobe", "1.5", "ANSWER = 42\n").parent
    workspace.write(
        "tools/uses.py", "import hgprobe\n\ndef answer() -> int:\n    return hgprobe.ANSWER\n"
    )
    env = {"EXTRA_PIP_PACKAGES": "hgprobe>=1.0,<2"}
    gateway = local(
        env=env,
        pipArgs=["--no-index", f"--find-links={wheels}"],
        packagesDir=str(tmp_path),
        strict=True,
    )
    client = clients(Modern(gateway.url))
    poll(lambda: "answer" in names(client), 60, why="the package is there")
    assert client.call("answer").text == "42"
    assert gateway.api("local")["packages"] == "installed" and "local.pip" in gateway.logs
    assert len(list(tmp_path.glob("packages-*/.complete"))) == 1


def test_a_package_that_cannot_be_installed_is_told(
    local: Start, clients: Clients, workspace: Workspace, tmp_path: Path
) -> None:
    args = ["--no-index", f"--find-links={tmp_path}"]
    gateway = local(packages=["there-is-no-such"], pipArgs=args)
    client = clients(Modern(gateway.url))
    poll(lambda: "add" in names(client), 60, why="the rest is served")
    assert "pip ended with status 1" in gateway.api("local")["packages"]
    strict = run_cli(
        "local",
        str(workspace.folder),
        "--listen=127.0.0.1:0",
        "--local.strict=true",
        "--local.packages=there-is-no-such",
        "--local.pipArgs=--no-index",
        cwd=tmp_path,
    )
    assert strict.returncode == 1 and "packages" in strict.stderr
