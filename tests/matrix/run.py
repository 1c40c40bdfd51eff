"""Real clients before real servers, through the gateway. Prints a table, writes
build/conformance/matrix.json, and with --write docs/matrix.md. What fails through the gateway is
asked of the server directly: when that fails too, the cell is n/a with what was said.

    ./dev matrix [--short] [--write] [--client NAME] [--server NAME]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BIN = os.environ.get("HEADGATE_BIN", str(ROOT / "build/release/headgate"))
NODE = shutil.which("node") or "node"
EVERYTHING = HERE / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
FEATURES = ("list", "call", "progress", "elicit", "sample", "subscribe", "cancel")
START_S, CLIENT_S = 60, 150


@dataclass(frozen=True)
class Client:
    name: str
    command: tuple[str, ...]
    transports: tuple[str, ...] = ("http", "sse", "stdio")
    modern: bool = False
    lacks: dict[str, str] = field(default_factory=dict, hash=False)


def python(venv: str) -> str:
    return str(ROOT / "build" / venv / "bin/python")


CLIENTS = [
    Client("TypeScript SDK 1.29", (NODE, str(HERE / "ts1.mjs"))),
    Client("TypeScript SDK 2.4", (NODE, str(HERE / "ts2.mjs")), ("http", "stdio"), True),
    Client(
        "Python mcp 1.30",
        (python("matrix/mcp1"), str(HERE / "py1.py")),
        lacks={"cancel": "it tells the server nothing when a call is given up"},
    ),
    Client("Python mcp 2.3", (python("venv"), str(HERE / "py2.py")), ("http", "stdio"), True),
    Client(
        "FastMCP 4.2", (python("matrix/fastmcp"), str(HERE / "fast.py")), ("http", "stdio"), True
    ),
]

EVERYTHING_PLAN: dict[str, Any] = {
    "list": {"tool": "echo"},
    "call": {"tool": "echo", "args": {"message": "hi"}, "expect": "Echo: hi"},
    "progress": {
        "tool": "trigger-long-running-operation",
        "args": {"duration": 0.5, "steps": 4},
        "min": 2,  # SDKs may drop the last, which comes together with the answer
    },
    "elicit": {
        "tool": "trigger-elicitation-request",
        "args": {},
        "content": {"name": "Ada", "check": True},
        "expect": "Ada",
    },
    "sample": {"tool": "trigger-sampling-request", "args": {"prompt": "say", "maxTokens": 5}},
    "subscribe": {
        "uri": "demo://resource/dynamic/text/1",
        "method": "notifications/resources/updated",
        "trigger": {"tool": "toggle-subscriber-updates", "args": {}},
    },
    "cancel": {"tool": "trigger-long-running-operation", "args": {"duration": 20, "steps": 2}},
}
OWN_PLAN: dict[str, Any] = {
    "list": {"tool": "echo"},
    "call": {"tool": "echo", "args": {"message": "hi"}, "expect": "echo: hi"},
    "progress": {"tool": "steps", "args": {"steps": 4}, "min": 3},
    "elicit": {"tool": "ask", "args": {}, "content": {"name": "Ada"}, "expect": "hello Ada"},
    "sample": {"tool": "think", "args": {}},
    "subscribe": {
        "uri": "matrix://thing",
        "method": "notifications/resources/updated",
        "trigger": {"tool": "touch"},
    },
    "cancel": {"tool": "hold", "args": {}, "proof": {"tool": "was_cancelled", "expect": "true"}},
}


@dataclass(frozen=True)
class Server:
    name: str
    command: tuple[str, ...]  # {port} is filled in
    transport: str
    path: str = ""
    features: dict[str, Any] = field(default_factory=dict, hash=False)
    lacks: dict[str, str] = field(default_factory=dict, hash=False)
    lacks_modern: dict[str, str] = field(default_factory=dict, hash=False)  # before modern clients
    mount: dict[str, Any] = field(default_factory=dict, hash=False)


ITS_SESSION = {
    "subscribe": "it tells updates only in the session whose call switched them on, and modern "
    "requests have none"
}
FASTMCP = (python("matrix/fastmcp"), str(HERE / "fast_server.py"), "{port}")
TOOLS_CHANGED = OWN_PLAN["subscribe"] | {"method": "notifications/tools/list_changed"}
FAST_PLAN = OWN_PLAN | {"subscribe": {k: v for k, v in TOOLS_CHANGED.items() if k != "uri"}}
SERVERS = [
    Server(
        "everything, stdio",
        (NODE, str(EVERYTHING), "stdio"),
        "stdio",
        "",
        EVERYTHING_PLAN,
        mount={"clientCaps": "superset"},
    ),
    Server(
        "everything, SSE",
        (NODE, str(EVERYTHING), "sse"),
        "sse",
        "/sse",
        EVERYTHING_PLAN,
        lacks_modern=ITS_SESSION,
    ),
    Server(
        "everything, HTTP",
        (NODE, str(EVERYTHING), "streamableHttp"),
        "http",
        "/mcp",
        EVERYTHING_PLAN,
        lacks_modern=ITS_SESSION,
    ),
    Server(
        "SDK 2.4, modern",
        (NODE, str(HERE / "modern_server.mjs"), "{port}"),
        "http",
        "/mcp",
        OWN_PLAN,
    ),
    Server(
        "FastMCP 4.2",
        FASTMCP,
        "http",
        "/mcp",
        FAST_PLAN,
        {
            "sample": "its Context has no sampling",
            "elicit": "its Context has no elicitation on modern connections; see era: legacy",
        },
    ),
    Server(
        "FastMCP 4.2, era: legacy",
        FASTMCP,
        "http",
        "/mcp",
        FAST_PLAN,
        {"sample": "its Context has no sampling"},
        mount={"era": "legacy"},
    ),
]


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    kept = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TMPDIR") if k in os.environ}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"} | (extra or {})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_port(port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing listens on {port}")
        time.sleep(0.05)


@contextlib.contextmanager
def process(command: list[str], **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(command, **more)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(5)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextlib.contextmanager
def running(server: Server) -> Iterator[dict[str, Any]]:
    """The server as a target for clients; over stdio each client starts its own."""
    if server.transport == "stdio":
        yield {
            "transport": "stdio",
            "command": server.command[0],
            "args": list(server.command[1:]),
        }
        return
    port = free_port()
    command = [part.format(port=port) for part in server.command]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with process(command, env=environment({"PORT": str(port)}), **quiet):
        wait_port(port)
        yield {"transport": server.transport, "url": f"http://127.0.0.1:{port}{server.path}"}


@contextlib.contextmanager
def gateway(
    target: dict[str, Any], more: dict[str, Any], folder: Path
) -> Iterator[dict[str, dict[str, Any]]]:
    """The gateway before it, as a target by transport."""
    mount = {k: v for k, v in target.items() if k != "transport"} | {"namespace": ""} | more
    file = folder / "headgate.json"
    file.write_text(json.dumps({"listen": "127.0.0.1:0", "upstreams": {"up": mount}}))
    log = (folder / "headgate.log").open("w")
    with process(
        [BIN, "run", "--config", str(file)], env=environment(), stdout=subprocess.PIPE, stderr=log
    ) as started:
        assert started.stdout
        base = "http://" + json.loads(started.stdout.readline())["listen"][0]
        wait_listed(base)
        yield {
            "http": {"transport": "http", "url": base + "/mcp"},
            "sse": {"transport": "sse", "url": base + "/sse"},
            "stdio": {
                "transport": "stdio",
                "command": BIN,
                "args": ["stdio", "--config", str(file)],
            },
        }
    log.close()


def wait_listed(base: str) -> None:
    """A server that takes its time is listed once it is up."""
    from urllib.request import urlopen

    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with urlopen(base + "/api/tools") as answer:
            if b'"name"' in answer.read():
                return
        time.sleep(0.1)
    raise RuntimeError("the server's tools are not listed")


def drive(client: Client, target: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    """How each feature went: {"list": {"ok": true}, …}."""
    plan = {"target": target, "mode": "auto", "features": features}
    done = subprocess.run(
        [*client.command, json.dumps(plan)],
        capture_output=True,
        text=True,
        timeout=CLIENT_S,
        env=environment({"PYTHONPATH": str(HERE)}),
        check=False,
    )
    try:
        outcome = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        outcome = {"connect": {"error": f"the client broke: {done.stderr[-300:]}"}}
    failed = outcome.get("connect")
    got = {f: outcome.get(f) or failed or {"error": "not reached"} for f in features}
    return got | ({"connect": failed} if failed else {})


def run_server(server: Server, chosen: list[tuple[Client, str]]) -> list[dict[str, Any]]:
    cells = []
    with tempfile.TemporaryDirectory() as folder, running(server) as target:
        features = {f: p for f, p in server.features.items() if f not in server.lacks}
        with gateway(target, server.mount, Path(folder)) as doors:
            for client, transport in chosen:
                lacks = client.lacks | (server.lacks_modern if client.modern else {})
                asked = {f: p for f, p in features.items() if f not in lacks}
                through = drive(client, doors[transport], asked)
                cells.append(
                    {
                        "client": client.name,
                        "transport": transport,
                        "server": server.name,
                        "through": through,
                    }
                )
                bad = [f for f in asked if "error" in through[f]]
                print(f"  {client.name}/{transport} → {server.name}: {bad or 'ok'}", flush=True)
        for cell in cells:
            bad = {f: features[f] for f in features if "error" in cell["through"].get(f, {})}
            if bad:
                client = next(c for c in CLIENTS if c.name == cell["client"])
                cell["direct"] = drive(client, target, bad)
    return cells


def judge(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a feature: pass, n/a with its reason, or FAIL."""
    servers = {s.name: s for s in SERVERS}
    clients = {c.name: c for c in CLIENTS}
    unable: dict[tuple[str, str], str] = {}  # what a client could not do at some server directly
    for cell in cells:
        direct = cell.get("direct", {})
        for f, got in direct.items():
            if "error" in got and "connect" not in direct:
                text = f"at {cell['server']} directly: {got['error']}"
                unable.setdefault((cell["client"], f), text)
    rows = []
    for cell in cells:
        server, client = servers[cell["server"]], cell["client"]
        lacks = server.lacks | (server.lacks_modern if clients[client].modern else {})
        direct = cell.get("direct", {})
        for f in FEATURES:
            row = {k: cell[k] for k in ("client", "transport", "server")} | {"feature": f}
            got = cell["through"].get(f)
            if got and "ok" in got:
                row["result"] = "pass"
            elif f in lacks:
                row |= {"result": "n/a", "reason": f"the server: {lacks[f]}"}
            elif f in clients[client].lacks:
                row |= {"result": "n/a", "reason": f"the client: {clients[client].lacks[f]}"}
            elif "connect" not in direct and "error" in direct.get(f, {}):
                text = f"without the gateway too: {direct[f]['error']}"
                row |= {"result": "n/a", "reason": text}
            elif (client, f) in unable:
                row |= {"result": "n/a", "reason": f"the client, {unable[client, f]}"}
            else:
                row |= {"result": "FAIL", "reason": (got or {}).get("error")}
            rows.append(row | ({"direct": direct[f]} if f in direct else {}))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: clients down, servers across; footnotes say what is not there."""
    servers = list(dict.fromkeys(r["server"] for r in rows))
    clients = list(dict.fromkeys((r["client"], r["transport"]) for r in rows))
    notes: dict[str, int] = {}
    out = ["| client, to the gateway over | " + " | ".join(servers) + " |"]
    out.append("|---" * (len(servers) + 1) + "|")
    for client, transport in clients:
        line = [f"{client}, {'SSE' if transport == 'sse' else transport.replace('http', 'HTTP')}"]
        for server in servers:
            mine = [
                r
                for r in rows
                if (r["client"], r["transport"], r["server"]) == (client, transport, server)
            ]
            if not mine:
                line.append("")
                continue
            passed = sum(r["result"] == "pass" for r in mine)
            asked = sum(r["result"] != "n/a" for r in mine)
            marks = []
            for r in mine:
                if r["result"] != "pass":
                    reason = str(r.get("reason")).splitlines()[0]
                    text = f"{r['result']}, {r['feature']}: {reason}"
                    marks.append(str(notes.setdefault(text, len(notes) + 1)))
            line.append(f"{passed}/{asked}" + (f" [{', '.join(marks)}]" if marks else ""))
        out.append("| " + " | ".join(line) + " |")
    out += ["", *(f"{n}. {text}" for text, n in notes.items())]
    return "\n".join(out)


PAGE = """# Real clients before real servers

Each cell is a client of its own process, which does seven things through the gateway: lists tools,
calls one, hears its progress, cancels a call, is asked for input (elicitation), is asked for a
sample, and hears of a change that it subscribed to. `7/7`: all of them; what a client or server has
not is not counted, and a note says how it was found. Made by `./dev matrix --write`.

"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true", help="each client over one transport")
    parser.add_argument("--write", action="store_true", help="write docs/matrix.md")
    parser.add_argument("--client", help="only clients whose name has this")
    parser.add_argument("--server", help="only servers whose name has this")
    options = parser.parse_args()
    chosen = [
        (c, t)
        for c in CLIENTS
        for t in (c.transports[:1] if options.short else c.transports)
        if (options.client or "") in c.name
    ]
    servers = [s for s in SERVERS if (options.server or "") in s.name]
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        cells = [
            cell for done in pool.map(lambda s: run_server(s, chosen), servers) for cell in done
        ]
    rows = judge(cells)
    out = ROOT / "build/conformance"
    out.mkdir(parents=True, exist_ok=True)
    (out / "matrix.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))
    if options.write:
        (ROOT / "docs/matrix.md").write_text(PAGE + table(rows) + "\n")
    failed = [r for r in rows if r["result"] == "FAIL"]
    print(f"{len(rows)} checks, {len(failed)} failed, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
