"""The SDKs that people use, through the gateway, to the servers that people use."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import environment
from mocks import LegacyServer, ModernServer
from wire import poll

CLIENTS = Path(__file__).resolve().parent / "clients"
SERVERS = CLIENTS / "node_modules" / "@modelcontextprotocol"
EVERYTHING = SERVERS / "server-everything" / "dist" / "index.js"
FILESYSTEM = SERVERS / "server-filesystem" / "dist" / "index.js"
NODE = shutil.which("node") or "node"
TIMEOUT = 120

DRIVERS: dict[str, tuple[list[str], str]] = {
    "sdk-1.29": ([NODE, str(CLIENTS / "legacy.mjs")], "legacy"),
    "client-2-legacy": ([NODE, str(CLIENTS / "modern.mjs")], "legacy"),
    "client-2-modern": ([NODE, str(CLIENTS / "modern.mjs")], "2026-07-28"),
    "client-2-auto": ([NODE, str(CLIENTS / "modern.mjs")], "auto"),
    "python-legacy": ([sys.executable, str(CLIENTS / "pyclient.py")], "legacy"),
    "python-modern": ([sys.executable, str(CLIENTS / "pyclient.py")], "2026-07-28"),
    "python-auto": ([sys.executable, str(CLIENTS / "pyclient.py")], "auto"),
}


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return request.param


def drive(driver: str, url: str, *steps: Any, **plan: Any) -> list[Any]:
    """Runs the steps in the SDK's own process; their outcomes."""
    command, mode = DRIVERS[driver]
    whole = {"url": url, "mode": mode, "steps": steps} | plan
    done = subprocess.run(
        [*command, json.dumps(whole)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 0 and done.stdout, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def oks(outcomes: list[Any]) -> list[Any]:
    assert all("ok" in o for o in outcomes), outcomes
    return [o["ok"] for o in outcomes]


def said(result: dict[str, Any]) -> str:
    return "\n".join(c.get("text", "") for c in result["content"])


def everything() -> dict[str, Any]:
    return {"command": NODE, "args": [str(EVERYTHING), "stdio"]}


def filesystem(folder: Path) -> dict[str, Any]:
    return {"command": NODE, "args": [str(FILESYSTEM), str(folder)]}


@contextlib.contextmanager
def serving_everything(transport: str, path: str) -> Iterator[str]:
    """server-everything over HTTP, on a port of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [NODE, str(EVERYTHING), transport],
        env=environment({"PORT": str(port)}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        poll(lambda: reachable(port), 60, "server-everything listens")
        yield f"http://127.0.0.1:{port}{path}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def everything_http() -> Iterator[str]:
    with serving_everything("streamableHttp", "/mcp") as url:
        yield url


@pytest.fixture
def everything_sse() -> Iterator[str]:
    with serving_everything("sse", "/sse") as url:
        yield url


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def ready(gateway: Any, *mounts: str) -> None:
    """The servers have started and are listed (a cold node takes its time)."""
    for mount in mounts:
        prefix = f"{mount}_"

        def listed(prefix: str = prefix) -> bool:
            got = gateway.api("tools")
            tools = got["tools"] if isinstance(got, dict) else got
            return any(t["name"].startswith(prefix) for t in tools)

        poll(listed, 60, f"tools of {mount}")


EVERYTHING_STEPS = (
    ["tools"],
    ["call", "ev_echo", {"message": "hello é"}],
    ["call", "ev_get-sum", {"a": 2, "b": 40}],
    ["call", "ev_get-structured-content", {"location": "New York"}],
    ["call", "ev_trigger-long-running-operation", {"duration": 0.3, "steps": 3}],
    ["prompts"],
    ["prompt", "ev_simple-prompt", {}],
    ["resources"],
)


def check_everything(outcomes: list[Any]) -> None:
    tools, echo, total, structured, long, prompts, prompt, resources = oks(outcomes)
    assert {"ev_echo", "ev_get-sum", "ev_get-tiny-image"} <= set(tools)
    assert len(set(tools)) == len(tools) and all(t.startswith("ev_") for t in tools)
    assert "hello é" in said(echo) and "42" in said(total)
    assert structured["structuredContent"]["conditions"]
    # The server asks each new client for its roots after a while. When that falls into this call, a
    # modern SDK is asked between two steps, reports that round as a step of its own, and a step
    # that passes meanwhile has no listener.
    steps = [p for p in (1, 2, 3) if p in long["progress"]]
    assert steps[:2] == [1, 2] and len(long["progress"]) <= 4
    assert "ev_simple-prompt" in prompts and prompt["messages"]
    assert resources


def test_everything_over_stdio(start_gateway: Callable[..., Any], driver: str) -> None:
    gateway = start_gateway({"upstreams": {"ev": everything()}})
    ready(gateway, "ev")
    check_everything(drive(driver, gateway.url, *EVERYTHING_STEPS))


def test_everything_over_http(
    start_gateway: Callable[..., Any], everything_http: str, driver: str
) -> None:
    gateway = start_gateway({"upstreams": {"ev": {"url": everything_http}}})
    ready(gateway, "ev")
    check_everything(drive(driver, gateway.url, *EVERYTHING_STEPS))


def test_everything_over_sse(
    start_gateway: Callable[..., Any], everything_sse: str, driver: str
) -> None:
    gateway = start_gateway({"upstreams": {"ev": {"url": everything_sse}}})
    ready(gateway, "ev")
    check_everything(drive(driver, gateway.url, *EVERYTHING_STEPS))


def test_filesystem_over_stdio(
    start_gateway: Callable[..., Any], tmp_path: Path, driver: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    real = Path(os.path.realpath(folder))
    gateway = start_gateway({"upstreams": {"fs": filesystem(real)}})
    ready(gateway, "fs")
    file = str(real / "a.txt")
    text = "line one\nline zwei é\n" * 1000
    wrote, read, outside, missing = drive(
        driver,
        gateway.url,
        ["call", "fs_write_file", {"path": file, "content": text}],
        ["call", "fs_read_text_file", {"path": file}],
        ["call", "fs_read_text_file", {"path": "/etc/passwd"}],
        ["call", "fs_no_such_tool", {}],
        capabilities={},
    )
    assert (real / "a.txt").read_text() == text and "ok" in wrote
    assert said(read["ok"]) == text
    assert outside["ok"]["isError"] is True
    assert "error" in missing or missing["ok"]["isError"] is True


@pytest.mark.parametrize("legacy_driver", ["sdk-1.29", "client-2-legacy", "python-legacy"])
def test_legacy_sdks_answer_what_everything_asks(
    start_gateway: Callable[..., Any], everything_http: str, legacy_driver: str
) -> None:
    gateway = start_gateway({"upstreams": {"ev": {"url": everything_http}}})
    ready(gateway, "ev")
    tools, elicited, sampled = oks(
        drive(
            legacy_driver,
            gateway.url,
            ["tools"],
            ["call", "ev_trigger-elicitation-request", {}],
            ["call", "ev_trigger-sampling-request", {"prompt": "say", "maxTokens": 5}],
            elicit={"name": "Ada", "check": True},
        )
    )
    assert {"ev_trigger-elicitation-request", "ev_trigger-sampling-request"} <= set(tools)
    assert "Ada" in said(elicited) and "sampled" in said(sampled)


@pytest.mark.parametrize("server", [ModernServer, LegacyServer])
def test_every_sdk_before_every_era(
    start_gateway: Callable[..., Any], mocks: Callable[..., Any], driver: str, server: type
) -> None:
    up = mocks(server())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    tools, echo, failed, progress, read, prompts, prompt = oks(
        drive(
            driver,
            gateway.url,
            ["tools"],
            ["call", "up_echo", {"n": 9007199254740991}],
            ["call", "up_fail", {}],
            ["call", "up_progress", {}],
            ["read", "demo://one/a"],
            ["prompts"],
            ["prompt", "up_greet", {"who": "w"}],
        )
    )
    assert tools == [f"up_{t['name']}" for t in up.service.lists["tools"]]
    assert said(echo) == '{"n": 9007199254740991}' and failed["isError"] is True
    assert progress["progress"] == [1, 2, 3]
    assert read["contents"][0]["text"] == "demo://one/a of mock"
    assert prompts == ["up_greet"] and prompt["messages"]


@pytest.mark.parametrize("same_era", ["sdk-1.29", "client-2-modern", "python-modern"])
def test_sdks_answer_what_servers_of_their_era_ask(
    start_gateway: Callable[..., Any], mocks: Callable[..., Any], same_era: str
) -> None:
    up = mocks((LegacyServer if same_era == "sdk-1.29" else ModernServer)())
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}})
    kinds = ["elicitation", "sampling", "roots"]
    step = ["call", "up_ask", {"kinds": kinds}]
    (asked,) = oks(drive(same_era, gateway.url, step, elicit={"which": "x"}))
    told = json.loads(said(asked))
    assert told[0]["content"] == {"which": "x"}
    assert told[1]["content"]["text"] == "sampled"
    assert told[2]["roots"][0]["uri"] == "file:///srv/e2e"


@pytest.mark.parametrize("server", [ModernServer, LegacyServer])
def test_a_catalog_of_many_pages(
    start_gateway: Callable[..., Any], mocks: Callable[..., Any], driver: str, server: type
) -> None:
    up = mocks(server())
    up.service.lists["tools"].clear()
    up.service.page_size = 100
    for n in range(1500):
        up.service.tool(f"t{n}")
    gateway = start_gateway({"upstreams": {"up": {"url": up.url}}, "pageSize": 200})
    (tools,) = oks(drive(driver, gateway.url, ["tools"]))
    assert tools == [f"up_t{n}" for n in range(1500)]


LOCAL_STEPS = (
    ["tools"],
    ["call", "greet", {"name": "you", "excited": True}],
    ["call", "mean", {"values": [1, 2, 6]}],
    ["call", "divide", {"a": 1, "b": 0}],
    ["prompts"],
    ["resources"],
)


def test_python_tools(start_gateway: Callable[..., Any], driver: str) -> None:
    workspace = Path(__file__).resolve().parents[2] / "examples" / "local"
    gateway = start_gateway({"local": {"inline": str(workspace)}})
    poll(lambda: gateway.upstream("local")["state"] == "up", why="the tools are loaded")
    outcomes = oks(drive(driver, gateway.url, *LOCAL_STEPS))
    tools, greet, mean, divide, prompts, resources = outcomes
    assert {"greet", "add", "book"} <= set(tools) and "total" not in tools
    assert said(greet) == "Hello, you!" and mean["structuredContent"] == {"result": 3}
    assert divide["isError"] and said(divide) == "b must not be 0"
    assert prompts and any(str(r).startswith("knowledge://") for r in resources)
