"""Upstreams that are child processes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcpclient import Client, Legacy, Modern
from processes import descendants, exists, zombies
from wire import poll

Start = Callable[..., Any]
Stdio = Callable[..., Any]
Clients = Callable[[Client], Any]


@pytest.fixture(params=["legacy", "modern"])
def server_era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["legacy", "modern"])
def client_era(request: pytest.FixtureRequest) -> Any:
    return Legacy if request.param == "legacy" else Modern


def test_everything_over_pipes(
    start_gateway: Start, stdio: Stdio, clients: Clients, server_era: str, client_era: Any
) -> None:
    mock = stdio("io", server_era)
    client = clients(client_era(start_gateway({"upstreams": {"io": mock.mount()}}).url))
    listed = [t["name"] for t in client.all("tools")]
    assert listed[:2] == ["io_echo", "io_structured"] and "io_pid" in listed
    assert client.call("io_echo", {"a": "é\n\u2028"}).text == json.dumps({"a": "é\n\u2028"})
    assert client.call("io_rpc_error").code == 1234
    told = client.call("io_progress", token="t").sent("notifications/progress")
    assert [(p["progressToken"], p["progress"]) for p in told] == [("t", n) for n in (1, 2, 3)]
    read = client.request("resources/read", {"uri": "demo://one/a"}).result["contents"]
    assert read[0]["text"] == "demo://one/a of io"
    got = client.request("prompts/get", {"name": "io_greet"}).result
    assert got["messages"][0]["content"]["text"].startswith("greet of io")
    large = "x" * 1_000_000
    assert client.call("io_echo", {"a": large}).text == json.dumps({"a": large})


def test_shared_child_serves_all_clients(
    start_gateway: Start, stdio: Stdio, clients: Clients
) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio().mount()}})
    made = [clients(kind(gateway.url)) for kind in (Legacy, Legacy, Modern)]
    assert len({c.call("io_pid").text for c in made}) == 1


def test_a_child_for_each_client(start_gateway: Start, stdio: Stdio, clients: Clients) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio().mount(session="perClient")}})
    one, two = clients(Legacy(gateway.url)), clients(Legacy(gateway.url))
    pids = [int(c.call("io_pid").text) for c in (one, two, one)]
    assert pids[0] == pids[2] != pids[1]
    assert one.delete().status in (200, 202, 204)
    poll(lambda: not exists(pids[0]), why="the child ends with its client's session")
    assert two.call("io_pid").text == str(pids[1])


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_ids_of_many_calls_do_not_cross(
    start_gateway: Start, stdio: Stdio, clients: Clients, tmp_path: Path, era: str
) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio("io", era).mount()}})
    holders = [clients(Modern(gateway.url)) for _ in range(8)]
    flags = [tmp_path / f"flag{n}" for n in range(8)]
    waiting = []
    for client, flag in zip(holders, flags, strict=True):
        params = {"name": "io_hold", "arguments": {"path": str(flag)}}
        waiting.append(client.open("tools/call", params, id_=1))
    poll(lambda: all(Path(f"{f}.in").exists() for f in flags))
    for n in range(20):
        assert holders[0].call("io_echo", {"n": n}).text == json.dumps({"n": n})
    for flag in reversed(flags):
        flag.touch()
    assert [w.finish().text for w in waiting] == ["let go"] * 8


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_cancelling_reaches_the_child(
    start_gateway: Start, stdio: Stdio, clients: Clients, tmp_path: Path, era: str
) -> None:
    mock, flag = stdio("io", era), tmp_path / "flag"
    gateway = start_gateway({"upstreams": {"io": mock.mount()}})
    client = clients(Modern(gateway.url))
    params = {"name": "io_hold", "arguments": {"path": str(flag)}}
    pending = client.open("tools/call", params)
    poll(lambda: Path(f"{flag}.in").exists())
    pending.close()
    poll(lambda: mock.messages("notifications/cancelled"))
    poll(lambda: Path(f"{flag}.cancelled").exists())
    assert client.call("io_echo").text == "{}"


def test_a_crash_is_an_error_of_that_call_and_the_child_comes_back(
    start_gateway: Start, stdio: Stdio, clients: Clients, server_era: str, client_era: Any
) -> None:
    mock = stdio("io", server_era)
    gateway = start_gateway({"upstreams": {"io": mock.mount()}})
    client = clients(client_era(gateway.url))
    first = client.call("io_pid").text
    reply = client.call("io_exit", {"code": 7})
    assert reply.code == -32603 and reply.status == 200
    assert reply.error["data"]["reason"] == "upstream_unavailable"

    def again() -> str | None:
        message = client.call("io_pid").message
        return message["result"]["content"][0]["text"] if "result" in message else None

    assert poll(again) != first
    assert not zombies(gateway.pid)
    assert int(client.call("io_pid").text) in mock.pids()


def test_a_crash_fails_all_that_was_in_flight(
    start_gateway: Start, stdio: Stdio, clients: Clients, tmp_path: Path
) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio().mount()}})
    client, flag = clients(Modern(gateway.url)), tmp_path / "never"
    held = client.open("tools/call", {"name": "io_hold", "arguments": {"path": str(flag)}})
    poll(lambda: Path(f"{flag}.in").exists())
    assert client.call("io_exit").code == -32603
    assert held.finish().code == -32603


@pytest.mark.parametrize("does", ["--exit-on-probe", "--hang-on-probe", "--spoilt-by-probe"])
def test_a_child_that_the_probe_breaks_is_legacy(
    start_gateway: Start, stdio: Stdio, clients: Clients, does: str
) -> None:
    """Another takes its place, and the mount was never down for it."""
    mock = stdio("io", "legacy", does)
    gateway = start_gateway({"upstreams": {"io": mock.mount()}, "timeouts": {"startupWait": "20s"}})
    client = clients(Modern(gateway.url))
    assert client.call("io_echo").text == "{}"
    assert len(mock.pids()) == 2 and "upstream.down" not in gateway.logs
    assert client.call("io_exit").code == -32603
    poll(lambda: "result" in client.call("io_pid").message)
    assert len(mock.pids()) == 3, "what is known to be legacy is not probed again"


def test_a_child_that_answers_the_probe_with_an_error_stays(
    start_gateway: Start, stdio: Stdio, clients: Clients
) -> None:
    mock = stdio("io", "legacy")
    client = clients(Modern(start_gateway({"upstreams": {"io": mock.mount()}}).url))
    assert client.call("io_pid").text == str(mock.pids()[0]) and len(mock.pids()) == 1


def test_a_child_that_exits_whatever_it_is_asked_is_down(
    start_gateway: Start, stdio: Stdio
) -> None:
    gateway = start_gateway({"upstreams": {"io": {"command": "/bin/false"}}})
    poll(lambda: gateway.upstream("io")["state"] == "down")


def test_garbage_on_stdout_is_skipped(start_gateway: Start, stdio: Stdio, clients: Clients) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio().mount()}})
    client = clients(Modern(gateway.url))
    lines = ["this is not JSON", "", "[1,2", '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":4711,']
    lines += ['{"jsonrpc":"2.0","id":"never","result":{}}', "\x01\x02", "Server started!"]
    for line in lines:
        assert client.call("io_garbage", {"line": line}).text == "after garbage", line
    assert client.call("io_echo").text == "{}"


def test_stderr_of_children_is_logged(start_gateway: Start, stdio: Stdio, clients: Clients) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio().mount()}})
    client = clients(Modern(gateway.url))
    client.call("io_stderr", {"line": "a line only this child says"})
    line = gateway.wait_log(r"[^\n]*a line only this child says[^\n]*")
    assert "io" in line
    client.call("io_stderr", {"line": "\x1b[31mred\nlevel=error forged=1"})
    gateway.wait_log("forged=1")
    assert "\x1b" not in gateway.logs


def test_environment_and_directory(
    start_gateway: Start, stdio: Stdio, clients: Clients, tmp_path: Path
) -> None:
    mount = stdio().mount(env={"GIVEN": "to the child"}, cwd=str(tmp_path))
    gateway = start_gateway({"upstreams": {"io": mount}}, env={"OWN_SECRET": "s3cret-value"})
    said = json.loads(clients(Modern(gateway.url)).call("io_env").text)
    assert said["env"]["GIVEN"] == "to the child" and said["cwd"] == str(tmp_path)
    assert "s3cret-value" not in said["env"].values(), "children inherit nothing unasked"
    assert "PATH" in said["env"]


def test_list_changed_and_updated_from_a_child(
    start_gateway: Start, stdio: Stdio, clients: Clients, server_era: str
) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio("io", server_era).mount()}})
    client = clients(Legacy(gateway.url))
    stream = client.listen()
    client.call("io_touch_lists", {"tool": "late"})
    assert stream.until("notifications/tools/list_changed")
    assert "io_late" in [t["name"] for t in client.all("tools")]
    assert client.request("resources/subscribe", {"uri": "demo://one/a"}).result == {}
    params = {"uri": "demo://one/a"}
    poll(lambda: client.call("io_update", params).result)
    assert stream.until("notifications/resources/updated")["params"]["uri"] == "demo://one/a"


def test_what_a_child_asks_reaches_its_caller(
    start_gateway: Start, stdio: Stdio, clients: Clients
) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio().mount(session="perClient")}})
    told = {"action": "accept", "content": {"which": "x"}}
    client = Legacy(gateway.url, caps={"elicitation": {}}, answer=lambda method, params: told)
    assert json.loads(clients(client).call("io_ask").text) == [told]


# Ends


def family(gateway: Any, client: Any, mock: Any) -> list[int]:
    """A child and its grandchild."""
    grandchild = int(client.call("io_spawn").text)
    pids = [*mock.pids(), grandchild]
    assert set(pids) <= {*descendants(gateway.pid), *mock.pids()} and exists(grandchild)
    return pids


def through_a_shell(mount: dict[str, Any]) -> dict[str, Any]:
    """As npx and its like start a server: the command is its parent, not itself."""
    line = shlex.join([mount["command"], *mount["args"]])
    return {"command": "sh", "args": ["-c", f"{line}; true"]}


@pytest.mark.parametrize("shell", [False, True], ids=["direct", "npx-like"])
def test_a_killed_gateway_leaves_no_orphan(
    start_gateway: Start, stdio: Stdio, clients: Clients, shell: bool
) -> None:
    mock = stdio()
    mount = through_a_shell(mock.mount()) if shell else mock.mount()
    gateway = start_gateway({"upstreams": {"io": mount}})
    pids = family(gateway, clients(Legacy(gateway.url)), mock)
    gateway.kill()
    for pid in pids:
        poll(lambda pid=pid: not exists(pid), why=f"{pid} of {pids} ends with the gateway")


@pytest.mark.parametrize("shell", [False, True], ids=["direct", "npx-like"])
def test_a_stopped_gateway_takes_its_children_along(
    start_gateway: Start, stdio: Stdio, clients: Clients, shell: bool
) -> None:
    mock = stdio()
    mount = through_a_shell(mock.mount()) if shell else mock.mount()
    gateway = start_gateway({"upstreams": {"io": mount}})
    pids = family(gateway, clients(Modern(gateway.url)), mock)
    gateway.stop()
    for pid in pids:
        poll(lambda pid=pid: not exists(pid), why=f"{pid} of {pids} ends with the gateway")


def test_children_that_end_are_reaped(start_gateway: Start, stdio: Stdio, clients: Clients) -> None:
    gateway = start_gateway({"upstreams": {"io": stdio().mount()}})
    client = clients(Modern(gateway.url))
    for _ in range(3):
        reply = poll(lambda: got if "result" in (got := client.call("io_pid")).message else None)
        os.kill(int(reply.text), signal.SIGKILL)
        poll(lambda pid=int(reply.text): not exists(pid), why="the child is reaped")
    poll(lambda: not zombies(gateway.pid))


def test_the_script_ends_with_its_stdin(tmp_path: Path) -> None:
    """So a child that stays is the gateway's doing."""
    script = Path(__file__).with_name("stdio_server.py")
    record = tmp_path / "record"
    done = subprocess.run(
        [sys.executable, str(script), "--record", str(record)],
        input=b"",
        timeout=20,
        check=True,
    )
    assert done.returncode == 0 and "# end" in record.read_text()


ALL = {"elicitation": {"form": {}}, "roots": {}}
TOLD = [{"action": "accept", "content": {"which": "this"}}, {"roots": []}]


def asking_child(start_gateway: Start, mock: Any, parked: str = "60s") -> Any:
    """One child that all threads share, and that was told that its clients can answer."""
    upstreams = {"io": mock.mount(clientCaps="superset")}
    return start_gateway({"threads": 4, "timeouts": {"parked": parked}, "upstreams": upstreams})


def answered(method: str, params: Any) -> Any:
    return TOLD[method == "roots/list"]


def conserved(gateway: Any) -> None:
    def done() -> bool:
        get = gateway.metric
        ends = sum(get(f"mcp_calls_{how}_total") for how in ("answered", "failed", "cancelled"))
        idle = get("mcp_parked_calls") == 0 == get("mcp_inflight_requests")
        return idle and get("mcp_calls_admitted_total") == ends

    poll(done, why="calls are conserved")


def test_a_shared_child_asks_whichever_thread_its_client_is_on(
    start_gateway: Start, stdio: Stdio, clients: Clients, client_era: Any
) -> None:
    gateway = asking_child(start_gateway, stdio())
    arguments = {"kinds": ["elicitation", "roots"]}
    for _ in range(8):
        if client_era is Legacy:
            client = clients(Legacy(gateway.url, caps=ALL, answer=answered))
            reply = client.call("io_ask", arguments)
        else:
            client = clients(Modern(gateway.url, caps=ALL))
            reply = client.call("io_ask", arguments)
            while reply.result["resultType"] == "input_required":
                answers = {k: answered(q["method"], {}) for k, q in reply.asked.items()}
                reply = client.retry("io_ask", arguments, reply, answers)
        assert json.loads(reply.text) == TOLD
    conserved(gateway)


def test_a_shared_child_hears_what_its_client_did_not_declare(
    start_gateway: Start, stdio: Stdio, clients: Clients
) -> None:
    gateway = asking_child(start_gateway, stdio())
    for _ in range(4):
        assert clients(Legacy(gateway.url)).call("io_ask").code == -32601
        assert clients(Modern(gateway.url)).call("io_ask").code == -32021
    conserved(gateway)


def test_a_shared_child_that_dies_asks_no_more(
    start_gateway: Start, stdio: Stdio, clients: Clients
) -> None:
    mock = stdio()
    gateway = asking_child(start_gateway, mock)
    client = clients(Modern(gateway.url, caps=ALL))
    reply = client.call("io_ask")
    os.kill(mock.pids()[0], signal.SIGKILL)
    answers = {key: TOLD[0] for key in reply.asked}
    poll(lambda: gateway.metric("mcp_parked_calls") == 0, why="its death reaches what is parked")
    assert client.retry("io_ask", {}, reply, answers).code == -32603
    conserved(gateway)


def test_a_shared_child_hears_when_nobody_comes_to_answer(
    start_gateway: Start, stdio: Stdio, clients: Clients
) -> None:
    mock = stdio()
    gateway = asking_child(start_gateway, mock, parked="1s")
    for n in range(4):
        assert clients(Modern(gateway.url, caps=ALL)).call("io_ask").asked
        poll(lambda n=n: len(mock.messages("notifications/cancelled")) == n + 1)
    conserved(gateway)
