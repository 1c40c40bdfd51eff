"""One configuration with a secret of every kind, each a word of its own; everything that can fail
does. None of the words may come out anywhere."""

from __future__ import annotations

import base64
import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from gatewayproc import run_cli
from idp import compact, encode
from mcpclient import ACCEPT, Legacy, Modern
from mocks import LegacyServer, ModernServer
from redisproc import RedisServer
from wire import http

PAGES = (
    *("/api/info", "/api/upstreams", "/api/local", "/api/tools", "/api/prompts", "/api/resources"),
    *("/metrics", "/debug/info", "/ui", "/healthz", "/readyz", "/api/nothing"),
    "/.well-known/oauth-protected-resource/mcp",
)


class Canaries:
    """Secrets by kind, and all that came out by where it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.words: dict[str, str] = {}
        self.env: dict[str, str] = {}
        self.out: list[tuple[str, str]] = []

    def word(self, kind: str, text: str | None = None) -> str:
        return self.words.setdefault(
            kind, text or f"canary-{len(self.words)}-{kind.lower()}-0123456789abcdef"
        )

    def in_env(self, kind: str, word: str | None = None) -> str:
        """The name of a variable that holds it."""
        name = f"SECRET_{len(self.env)}"
        self.env[name] = word or self.word(kind)
        return name

    def in_file(self, kind: str, text: str | None = None) -> str:
        path = self.folder / f"secret-{len(self.words)}"
        path.write_text(text or self.word(kind))
        path.chmod(0o600)
        return str(path)

    def came(self, where: str, what: Any) -> Any:
        if hasattr(what, "headers"):
            self.out.append(
                (where, f"{what.status} {what.headers} {what.body.decode('utf-8', 'replace')}")
            )
        else:
            self.out.append((where, what if isinstance(what, str) else repr(what)))
        return what

    def hits(self) -> list[tuple[str, str]]:
        return [(kind, at) for at, text in self.out for kind, w in self.words.items() if w in text]


class Mirror(BaseHTTPRequestHandler):
    """Refuses, and says to whom: the head that it was sent is in its answer."""

    answers = itertools.cycle((401, 500, 302, 400, 403))

    def do_POST(self) -> None:
        told = " ".join(str(self.headers).split())
        self.send_response(next(self.answers), told)
        self.send_header("WWW-Authenticate", f'Bearer error="{told}"')
        self.send_header("Location", f"http://127.0.0.1:1/{told.replace(' ', '_')}")
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told.encode())

    do_GET = do_POST

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/mcp"
    server.shutdown()
    server.server_close()


@pytest.fixture
def canaries(tmp_path: Path) -> Canaries:
    return Canaries(tmp_path)


def auth_of(c: Canaries) -> dict[str, Any]:
    listed = [{"token": c.word("tokensFile"), "clientId": "filed"}]
    return {
        "type": "multi",
        "tokens": [
            {"token": c.word("bearer"), "clientId": "ann", "scopes": ["mcp:admin"]},
            {"tokenEnv": c.in_env("bearerEnv"), "clientId": "ben"},
            {"tokenFile": c.in_file("bearerFile"), "clientId": "cat"},
        ],
        "tokensFile": c.in_file("tokensFile", json.dumps(listed)),
        "jwt": [
            {
                "issuer": "i",
                "audience": "a",
                "secret": c.word("jwtSecret"),
                "algorithms": ["HS256"],
            },
            {
                "issuer": "j",
                "audience": "a",
                "secretEnv": c.in_env("jwtSecretEnv"),
                "algorithms": ["HS256"],
            },
            {
                "issuer": "k",
                "audience": "a",
                "secretFile": c.in_file("jwtSecretFile"),
                "algorithms": ["HS256"],
            },
        ],
    }


def upstreams_of(c: Canaries, up: str, old: str, mirror: str) -> dict[str, Any]:
    """Some work, some answer that they do not, some cannot be reached or started."""
    nowhere = "http://127.0.0.1:1/mcp"
    child = {"SECRET": c.word("childEnv")}
    args = ["-c", "import sys; sys.exit(3)", c.word("childArgument")]
    return {
        "inline": {"url": up, "auth": {"token": c.word("upstreamToken")}},
        "variable": {"url": up, "auth": {"tokenEnv": c.in_env("upstreamTokenEnv")}},
        "file": {"url": old, "auth": {"tokenFile": c.in_file("upstreamTokenFile")}},
        "header": {
            "url": nowhere,
            "auth": {"type": "header", "header": "X-Key", "token": c.word("upstreamHeaderToken")},
        },
        "fixed": {"url": old, "headers": {"X-Api-Key": c.word("fixedHeader")}},
        "expanded": {"url": nowhere, "headers": {"X-Two": f"${{{c.in_env('expandedHeader')}}}"}},
        "query": {"url": f"{nowhere}?api_key={c.word('urlQuery')}"},
        "queried": {"url": f"{up}?api_key={c.word('urlQueryWorks')}"},
        "mirror": {"url": mirror, "auth": {"token": c.word("mirrored")}},
        "mirror-old": {
            "url": mirror,
            "era": "legacy",
            "headers": {"X-Key": c.word("mirroredHeader")},
        },
        "dying": {"command": sys.executable, "args": args, "env": child},
        "missing": {"command": "/nonexistent/program", "env": {"S": c.word("missingEnv")}},
        "sse": {"url": nowhere, "transport": "sse", "auth": {"token": c.word("sseToken")}},
    }


def jwt(c: Canaries, kind: str, issuer: str, key: str, **claims: Any) -> str:
    """The whole token is a secret; so is its signature alone."""
    body = {"iss": issuer, "aud": "a", "sub": "s", "exp": int(time.time()) + 600}
    token = compact({"alg": "HS256"}, body | claims, "HS256", key.encode())
    c.word(kind, token)
    c.word(f"{kind}Signature", token.rpartition(".")[2])
    return token


def ask(gateway: Any, token: str | None, query: str = "", **more: str) -> Any:
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}}
    fields = {"Content-Type": "application/json", "Accept": ACCEPT} | more
    if token is not None:
        fields["Authorization"] = f"Bearer {token}"
    return http(gateway.url + query, "POST", fields, json.dumps(message).encode())


def knock_wrongly(c: Canaries, gateway: Any) -> None:
    basic = base64.b64encode(f"user:{c.word('basicPassword')}".encode()).decode()
    c.word("basic", basic)
    wrong = [
        ask(gateway, c.word("wrongBearer")),
        ask(gateway, None, Authorization=f"Basic {basic}"),
        ask(gateway, None, f"?access_token={c.word('queryToken')}"),
        ask(gateway, jwt(c, "forgedJwt", "i", "another-secret-0123456789-0123456789")),
        ask(gateway, jwt(c, "foreignJwt", "nobody", c.words["jwtSecret"])),
        ask(gateway, jwt(c, "lateJwt", "i", c.words["jwtSecret"], exp=1)),
        ask(gateway, c.word("malformedJwt", f"{encode('canary-head')}.e30.{encode('canary-sig')}")),
        ask(gateway, c.words["admin"]),
        ask(gateway, c.words["bearer"], **{"Mcp-Session-Id": c.word("wrongSession")}),
        http(gateway.base + "/reload", "POST", {"Authorization": f"Bearer {c.words['bearer']}"}),
        http(gateway.base + f"/api/info?access_token={c.word('adminQuery')}"),
    ]
    for n, answer in enumerate(wrong):
        assert answer.status in (400, 401, 404), (n, answer)
        c.came(f"answer to wrong request {n}", answer)


def call_everything(c: Canaries, gateway: Any, clients: Any) -> None:
    tokens = [c.words[k] for k in ("bearer", "bearerEnv", "bearerFile", "tokensFile")]
    tokens.append(jwt(c, "jwt", "i", c.words["jwtSecret"]))
    tokens.append(jwt(c, "jwtOfFile", "k", c.words["jwtSecretFile"]))
    for token in tokens:
        headers = {"Authorization": f"Bearer {token}", "Cookie": f"s={c.word('cookie')}"}
        modern = clients(Modern(gateway.url, headers=headers))
        legacy = clients(Legacy(gateway.url, headers=headers))
        c.words["session"] = legacy.session or "no session"
        for client in (modern, legacy):
            c.came("list", client.all("tools"))
            for mount in gateway.config["upstreams"]:
                for tool in ("fail", "nothing"):
                    reply = client.call(f"{mount}_{tool}", {"a": 1})
                    c.came(f"{mount}_{tool}", reply.message)


def all_pages(c: Canaries, gateway: Any) -> None:
    for path in ("/api/upstreams", "/debug/info", "/metrics"):
        assert gateway.get(path, Authorization=f"Bearer {c.words['admin']}").status == 200
    for path in PAGES:
        for token in (c.words["admin"], c.words["bearer"], c.words["wrongBearer"]):
            c.came(path, gateway.get(path, Authorization=f"Bearer {token}"))


def test_no_secret_comes_out(
    start_gateway: Any, mocks: Any, clients: Any, canaries: Canaries, mirror: str, tmp_path: Path
) -> None:
    c = canaries
    redis = RedisServer()  # it knows no such user
    modern, legacy = mocks(ModernServer()), mocks(LegacyServer())
    seal = base64.b64encode(b"canary-seal-key-0123456789-01234"[:32]).decode()
    config = {
        "log": {"level": "debug"},
        "admin": {"token": c.word("admin")},
        "auth": auth_of(c),
        "sealKeys": [c.word("sealKey", seal)],
        "store": f"redis://user:{c.word('storeUrlPassword')}@127.0.0.1:{redis.port}",
        "audit": {"file": str(tmp_path / "audit.jsonl")},
        "upstreams": upstreams_of(c, modern.url, legacy.url, mirror),
        "limits": {"default": "1000/min"},
        "ui": True,
    }
    try:
        gateway = start_gateway(config, env=c.env)
        c.came("hello", gateway.hello)
        knock_wrongly(c, gateway)
        call_everything(c, gateway, clients)
        all_pages(c, gateway)
        admin = {"Authorization": f"Bearer {c.words['admin']}"}
        c.came("reload", http(gateway.base + "/reload", "POST", admin))
        broken = config | {"auth": config["auth"] | {"type": "nonsense"}}
        gateway.write(gateway.config | broken)
        c.came("broken reload", http(gateway.base + "/reload", "POST", admin))
        gateway.wait_log("auth.type")
        for args in (("check",), ("check", "--live")):
            for env in (c.env, {}):
                done = run_cli(*args, "--config", str(gateway.file), env=env)
                c.came(" ".join(args), done.stdout + done.stderr)
        gateway.write(gateway.config)
        for args in (("check",), ("check", "--live")):
            done = run_cli(*args, "--config", str(gateway.file), env=c.env)
            assert done.returncode in (0, 1)
            c.came("dump of " + " ".join(args), done.stdout + done.stderr)
        gateway.stop()
    finally:
        redis.stop()
    c.came("log", gateway.logs)
    for event in ("store.away", "auth.refused", "upstream.down"):
        assert event in gateway.logs
    c.came("audit", (tmp_path / "audit.jsonl").read_text())
    assert len(c.words) >= 30
    assert all(len(text) > 1 for _, text in c.out)
    seen = repr([(r.headers, r.body, r.target) for m in (modern, legacy) for r in m.requests])
    used = (
        "upstreamToken",
        "upstreamTokenEnv",
        "upstreamTokenFile",
        "fixedHeader",
        "urlQueryWorks",
    )
    assert [kind for kind in used if c.words[kind] not in seen] == []
    assert not c.hits()


MISTAKES: dict[str, Any] = {
    "userinfo": {"upstreams": {"a": {"url": "http://u:SECRET@127.0.0.1:1/mcp"}}},
    "store": {"store": "redis://u:SECRET@127.0.0.1:port/x"},
    "store scheme": {"store": "http://u:SECRET@127.0.0.1/"},
    "two passwords": {"store": "redis://u:SECRET@h", "storePassword": "SECRET"},
    "seal key": {"sealKeys": ["SECRET"]},
    "variable": {"upstreams": {"a": {"url": "http://h/mcp", "auth": {"tokenEnv": "SECRET"}}}},
    "bearer": {"upstreams": {"a": {"url": "http://h/mcp", "auth": {"token": "Bearer SECRET"}}}},
    "header": {"upstreams": {"a": {"url": "http://h/mcp", "headers": {"A": "SECRET\n"}}}},
    "own header": {"upstreams": {"a": {"url": "http://h/mcp", "headers": {"Host": "SECRET"}}}},
    "header type": {"upstreams": {"a": {"url": "http://h/mcp", "headers": {"A": ["SECRET"]}}}},
    "child env": {"upstreams": {"a": {"command": "x", "env": {"A=": "SECRET"}}}},
    "child env type": {"upstreams": {"a": {"command": "x", "env": ["A=SECRET"]}}},
    "expansion": {"upstreams": {"a": {"url": "http://h/mcp", "headers": {"A": "${NO SECRET}"}}}},
    "token type": {"auth": {"token": ["SECRET"]}},
    "tokens": {"auth": {"tokens": ["SECRET"]}},
    "two ways": {"auth": {"tokens": [{"token": "SECRET", "tokenEnv": "SECRET_VARIABLE"}]}},
    "jwt secret": {"auth": {"jwt": {"issuer": "i", "audience": "a", "secret": "SECRET"}}},
    "jwks userinfo": {"auth": {"jwt": {"issuer": "i", "jwksUri": "https://u:SECRET@h/jwks"}}},
    "admin token": {"admin": {"token": {"a": "SECRET"}}},
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_without_the_secret(name: str, tmp_path: Path) -> None:
    secret = "canary5ecret"
    file = tmp_path / "headgate.json"
    file.write_text(json.dumps(MISTAKES[name]).replace("SECRET", secret))
    done = run_cli("check", "--config", str(file))
    assert done.stdout + done.stderr
    assert secret not in done.stdout + done.stderr
