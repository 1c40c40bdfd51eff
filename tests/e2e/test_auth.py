"""Who may come in: the modes of authentication, and what is said to those who may not."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from idp import Idp, compact, encode, make_key, pem
from mcpclient import ACCEPT, Legacy, Modern
from mocks import ModernServer
from wire import Conn, Response, http, poll

# `./dev prove auth` makes these larger.
ROTATIONS = int(os.environ.get("HEADGATE_KEY_ROTATIONS", "4"))
FLOOD_TOKENS = 400
FLOOD_SECONDS = float(os.environ.get("HEADGATE_FLOOD_SECONDS", "0"))
CALLERS, CALLS_PER_SECOND = 8, 400

INIT = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


def knock(gateway: Any, token: str | None = None, **headers: str) -> Response:
    """An initialize request: 200 for those who may come in."""
    fields = {"Content-Type": "application/json", "Accept": ACCEPT} | headers
    if token is not None:
        fields["Authorization"] = f"Bearer {token}"
    return http(gateway.url, "POST", fields, json.dumps(INIT).encode())


@pytest.fixture
def idp() -> Iterator[Callable[..., Idp]]:
    made: list[Idp] = []

    def make(*args: Any, **more: Any) -> Idp:
        made.append(Idp(*args, **more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def challenge(response: Response) -> str:
    fields = [v for k, v in response.headers if k == "www-authenticate"]
    assert len(fields) == 1, fields
    return fields[0]


# ---- static tokens ----


def test_a_static_token_lets_in_and_nothing_else_does(start_gateway: Any) -> None:
    gateway = start_gateway(env={"MCP_AUTH_TYPE": "bearer", "MCP_AUTH_TOKEN": "s3cret"})
    assert knock(gateway, "s3cret").status == 200
    for wrong in ("s3cre", "s3cret1", "S3cret", "x" * 8000):
        assert knock(gateway, wrong).status == 401
    assert knock(gateway).status == 401
    assert knock(gateway, Authorization="Basic czNjcmV0").status == 401
    assert knock(gateway, Authorization="bearer  s3cret").status == 200


def test_the_challenge_names_metadata_and_all_scopes(start_gateway: Any) -> None:
    gateway = start_gateway(
        {
            "publicUrl": "https://mcp.example.com",
            "auth": {"token": "t", "scopes": ["a"], "requiredScopes": ["a", "b"]},
        }
    )
    want = 'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'
    missing = knock(gateway)
    assert missing.status == 401
    assert challenge(missing) == f'Bearer scope="a b", {want}'
    wrong = knock(gateway, "nope")
    assert challenge(wrong) == f'Bearer error="invalid_token", scope="a b", {want}'
    short = knock(gateway, "t")
    assert short.status == 403
    assert challenge(short) == f'Bearer error="insufficient_scope", scope="a b", {want}'


def test_the_metadata_of_the_resource(start_gateway: Any, idp: Any) -> None:
    issuer = idp()
    gateway = start_gateway({"auth": {"jwt": issuer.config(), "requiredScopes": ["mcp"]}})
    for path in (
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
    ):
        document = gateway.get(path).json()
        assert document["resource"] == gateway.url
        assert document["authorization_servers"] == [issuer.issuer]
        assert document["scopes_supported"] == ["mcp"]
    assert gateway.get("/.well-known/oauth-protected-resource/other").status == 404
    conn = Conn(gateway.host_port)
    conn.send(b"GET /.well-known/oauth-protected-resource HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
    response = conn.head()
    assert json.loads(b"".join(conn.chunks(response)))["resource"] == gateway.url
    conn.close()
    moved = gateway.get("/.well-known/oauth-authorization-server")
    assert moved.status == 307
    assert dict(moved.headers)["location"] == (
        issuer.issuer + "/.well-known/oauth-authorization-server"
    )


def test_two_credentials_and_tokens_in_urls_are_refused(start_gateway: Any) -> None:
    gateway = start_gateway({"auth": {"token": "t"}})
    body = json.dumps(INIT).encode()
    fields = {"Content-Type": "application/json", "Accept": ACCEPT, "Authorization": "Bearer t"}
    assert http(gateway.url + "?access_token=t", "POST", fields, body).status == 400
    assert http(gateway.url + "?a=b&access_token=t", "POST", fields, body).status == 400
    conn = Conn(gateway.host_port)
    conn.send(
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Accept: application/json\r\nAuthorization: Bearer t\r\nAuthorization: Bearer t\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    assert conn.head().status == 400
    conn.close()


def test_authentication_comes_before_the_body(start_gateway: Any) -> None:
    gateway = start_gateway({"auth": {"token": "t"}})
    conn = Conn(gateway.host_port)
    conn.send(
        b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Accept: application/json\r\nContent-Length: 1000000\r\n\r\n"
    )
    assert conn.head().status == 401
    conn.close()


def test_an_expired_token_is_refused(start_gateway: Any) -> None:
    tokens = [
        {"token": "old", "clientId": "a", "expires": "2020-01-01"},
        {"token": "new", "clientId": "a", "expires": "2999-01-01T00:00:00Z"},
    ]
    gateway = start_gateway({"auth": {"tokens": tokens}})
    assert knock(gateway, "old").status == 401
    assert knock(gateway, "new").status == 200


def test_sessions_belong_to_who_made_them(start_gateway: Any, clients: Any) -> None:
    tokens = [{"token": n, "clientId": n} for n in ("one", "two")]
    gateway = start_gateway({"auth": {"tokens": tokens}})
    first = clients(Legacy(gateway.url, headers={"Authorization": "Bearer one"}))
    reply = first.request("ping")
    assert reply.result == {}
    first.headers["Authorization"] = "Bearer two"
    assert first.request("ping").status == 404
    first.headers["Authorization"] = "Bearer one"
    assert first.request("ping").result == {}


# ---- JWTs ----

ALGORITHMS = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]


def test_every_algorithm_of_a_key_set_verifies(start_gateway: Any, idp: Any) -> None:
    issuer = idp()
    for alg in ALGORITHMS:
        issuer.add(alg, alg)
    gateway = start_gateway({"auth": {"jwt": issuer.config(algorithms=ALGORITHMS)}})
    for alg in ALGORITHMS:
        assert knock(gateway, issuer.token(alg)).status == 200, alg
    assert issuer.fetches == 1


def test_an_rsa_key_verifies_rs256_alone_when_nobody_says_more(
    start_gateway: Any, idp: Any
) -> None:
    issuer = idp("RS256")
    for alg in ALGORITHMS:
        issuer.add(alg, alg)
    issuer.add("PS384", "says", alg="PS384")
    gateway = start_gateway({"auth": {"jwt": issuer.config()}})
    statuses = {alg: knock(gateway, issuer.token(alg)).status for alg in [*ALGORITHMS, "says"]}
    refused = {"RS384", "RS512", "PS256", "PS384", "PS512"}
    assert {alg for alg, status in statuses.items() if status == 401} == refused
    assert {s for alg, s in statuses.items() if alg not in refused} == {200}
    fixed = {
        "issuer": issuer.issuer,
        "audience": issuer.audience,
        "publicKey": pem(make_key("RS256")),
    }
    gateway = start_gateway({"auth": {"jwt": fixed}})
    assert [knock(gateway, issuer.token(a)).status for a in ("RS256", "PS256")] == [200, 401]


def test_a_pem_and_a_secret_verify(start_gateway: Any) -> None:
    key = make_key("ES256")
    claims = {"iss": "i", "aud": "a", "sub": "s", "exp": int(time.time()) + 60}
    env = {
        "MCP_AUTH_TYPE": "jwt",
        "MCP_AUTH_JWT_ISSUER": "i",
        "MCP_AUTH_JWT_AUDIENCE": "a",
        "MCP_AUTH_JWT_ALGORITHM": "ES256",
        "MCP_AUTH_JWT_PUBLIC_KEY": pem(key),
    }
    gateway = start_gateway(env=env)
    assert (
        knock(gateway, compact({"alg": "ES256", "kid": "any"}, claims, "ES256", key)).status == 200
    )
    assert (
        knock(gateway, compact({"alg": "HS256"}, claims, "HS256", pem(key).encode())).status == 401
    )
    secret = "0123456789abcdef0123456789abcdef"
    env |= {"MCP_AUTH_JWT_ALGORITHM": "HS256", "MCP_AUTH_JWT_PUBLIC_KEY": secret}
    gateway = start_gateway(env=env)
    assert knock(gateway, compact({"alg": "HS256"}, claims, "HS256", secret.encode())).status == 200
    assert knock(gateway, compact({"alg": "HS512"}, claims, "HS512", secret.encode())).status == 401


def test_multi_takes_either_and_never_lets_a_bad_one_through(start_gateway: Any, idp: Any) -> None:
    issuer = idp("ES256")
    gateway = start_gateway({"auth": {"type": "multi", "token": "t", "jwt": issuer.config()}})
    assert gateway.get("/api/info", Authorization="Bearer t").json()["auth_type"] == "multi"
    assert knock(gateway, "t").status == 200
    assert knock(gateway, issuer.token()).status == 200
    assert knock(gateway, issuer.token(aud="other")).status == 401
    assert knock(gateway, "u").status == 401
    assert knock(gateway).status == 401


def test_scopes_of_tokens_count(start_gateway: Any, idp: Any) -> None:
    issuer = idp("ES256")
    config = issuer.config(scopesClaim="permissions")
    gateway = start_gateway({"auth": {"jwt": config, "requiredScopes": ["a", "b"]}})
    assert knock(gateway, issuer.token(permissions=["a", "b", "c"])).status == 200
    assert knock(gateway, issuer.token(permissions="b a")).status == 200
    assert knock(gateway, issuer.token(permissions="a bb")).status == 403
    assert knock(gateway, issuer.token(scope="a b")).status == 403
    assert knock(gateway, issuer.token(permissions=7)).status == 401


def test_a_rotated_key_is_found_without_a_false_refusal(start_gateway: Any, idp: Any) -> None:
    """Calls go on at a steady rate while the key changes; each is by a new token of the newest."""
    issuer = idp("ES256")
    config = issuer.config(keysMinRefresh="100ms")
    gateway = start_gateway({"auth": {"jwt": config}})
    over, numbers = threading.Event(), itertools.count()
    answers: list[int] = []
    newest = "k1"

    def calls() -> None:
        due = time.monotonic()
        while not over.is_set():
            answers.append(knock(gateway, issuer.token(newest, sub=f"u{next(numbers)}")).status)
            due += CALLERS / CALLS_PER_SECOND
            over.wait(max(0.0, due - time.monotonic()))

    begun = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        running = [pool.submit(calls) for _ in range(CALLERS)]
        for i in range(ROTATIONS):
            time.sleep(0.25)  # another fetch is allowed again
            before = len(answers)
            issuer.add("ES256", f"r{i}")
            newest = f"r{i}"
            poll(lambda n=before: len(answers) >= n + 40, why="calls with the new key")
            assert knock(gateway, issuer.token("k1", sub=f"old{i}")).status == 200
        over.set()
        for each in running:
            each.result()
    seconds = time.monotonic() - begun
    print(f"{ROTATIONS} rotations, {len(answers) / seconds:.0f} calls/s, {issuer.fetches} fetches")
    assert set(answers) == {200}, [i for i, s in enumerate(answers) if s != 200]
    assert issuer.fetches <= ROTATIONS + 1


def test_unknown_keys_are_fetched_for_once_in_ten_seconds(start_gateway: Any, idp: Any) -> None:
    """A flood of tokens, each of a key of its own that nobody knows."""
    issuer = idp("ES256")
    gateway = start_gateway({"auth": {"jwt": issuer.config()}})
    assert knock(gateway, issuer.token()).status == 200
    claims, signature = encode(issuer.claims()), encode(b"x" * 64)
    batch, sent, line = 100, 0, f"GET /mcp HTTP/1.1\r\nHost: {gateway.address}"

    def flood(conn: Conn, first: int) -> None:
        heads = []
        for kid in range(first, first + batch):
            token = f"{encode({'alg': 'ES256', 'kid': f'x{kid}'})}.{claims}.{signature}"
            heads.append(f"{line}\r\nAuthorization: Bearer {token}\r\n\r\n")
        conn.send("".join(heads).encode())
        for _ in range(batch):
            response = conn.head()
            assert response.status == 401
            b"".join(conn.chunks(response))

    conn = Conn(gateway.host_port)
    begun = time.monotonic()
    while sent < FLOOD_TOKENS or time.monotonic() < begun + FLOOD_SECONDS:
        flood(conn, sent)
        sent += batch
    seconds = time.monotonic() - begun
    conn.close()
    print(f"{sent} tokens, {sent / seconds:.0f}/s, {issuer.fetches} fetches in {seconds:.1f} s")
    assert issuer.fetches <= 2 + seconds // 10
    assert knock(gateway, issuer.token()).status == 200


def test_a_request_waits_for_the_keys_and_its_body_is_kept(start_gateway: Any, idp: Any) -> None:
    issuer = idp("ES256")
    issuer.gate.clear()
    gateway = start_gateway({"auth": {"jwt": issuer.config()}})
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(knock, gateway, issuer.token(sub=f"w{n}")) for n in range(4)]
        poll(lambda: issuer.fetches == 1, why="the fetch")
        issuer.gate.set()
        assert [w.result().status for w in waiting] == [200] * 4
    assert issuer.fetches == 1


def test_keys_that_cannot_be_had_refuse_and_their_return_heals(
    start_gateway: Any, idp: Any
) -> None:
    issuer = idp("ES256")
    issuer.status = 500
    gateway = start_gateway({"auth": {"jwt": issuer.config(keysMinRefresh="100ms")}})
    assert knock(gateway, issuer.token()).status == 401
    issuer.status = 200
    poll(lambda: knock(gateway, issuer.token()).status == 200, why="the keys")


def test_known_keys_outlive_their_issuer(start_gateway: Any, idp: Any) -> None:
    issuer = idp("ES256")
    gateway = start_gateway({"auth": {"jwt": issuer.config(keysTtl="1s", keysMinRefresh="100ms")}})
    assert knock(gateway, issuer.token()).status == 200
    issuer.status = 503
    poll(lambda: issuer.fetches >= 2, why="a refresh that fails")
    assert knock(gateway, issuer.token(sub="later")).status == 200


def test_a_removed_key_dies_with_the_next_refresh(start_gateway: Any, idp: Any) -> None:
    issuer = idp("ES256")
    issuer.add("ES256", "gone")
    gateway = start_gateway({"auth": {"jwt": issuer.config(keysTtl="1s", keysMinRefresh="100ms")}})
    assert knock(gateway, issuer.token("gone")).status == 200
    _, key, _ = issuer.keys.pop("gone")

    def fresh(n: int) -> str:
        claims = issuer.claims(sub=f"x{n}")
        return compact({"alg": "ES256", "kid": "gone"}, claims, "ES256", key)

    numbers = iter(range(1000))
    poll(lambda: knock(gateway, fresh(next(numbers))).status == 401, why="the key's end")


def test_redirects_of_a_key_set_are_not_followed(start_gateway: Any, idp: Any) -> None:
    target, issuer = idp("ES256"), idp("ES256")

    def redirect(request: Any) -> None:
        issuer.fetches += 1
        request.send_response(302)
        request.send_header("Location", target.jwks_url)
        request.send_header("Content-Length", "0")
        request.end_headers()

    issuer.serve = redirect
    gateway = start_gateway({"auth": {"jwt": issuer.config()}})
    assert knock(gateway, issuer.token()).status == 401
    assert target.fetches == 0


# ---- the control plane ----


def test_the_control_plane_asks_for_the_servers_credential(start_gateway: Any) -> None:
    gateway = start_gateway({"auth": {"token": "t"}})
    for path in ("/api/info", "/metrics", "/debug/info"):
        assert gateway.get(path).status == 401
        assert gateway.get(path).body == b'{"error":"unauthorized"}'
        assert gateway.get(path, Authorization="Bearer t").status == 200
    for path in ("/healthz", "/readyz", "/startupz"):
        assert gateway.get(path).status == 200


def test_reload_needs_its_scope_or_the_admin_token(start_gateway: Any) -> None:
    tokens = [
        {"token": "u", "clientId": "u"},
        {"token": "a", "clientId": "a", "scopes": ["mcp:admin"]},
    ]
    config = {"auth": {"tokens": tokens}}

    def reload(gateway: Any, token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http(gateway.base + "/reload", "POST", headers).status

    gateway = start_gateway(config)
    assert [reload(gateway, t) for t in (None, "u", "a")] == [401, 403, 200]
    gateway = start_gateway(config, env={"MCP_RELOAD_REQUIRED_SCOPES": ""})
    assert [reload(gateway, t) for t in (None, "u", "a")] == [401, 200, 200]
    gateway = start_gateway(config, env={"MCP_ADMIN_TOKEN": "root"})
    assert [reload(gateway, t) for t in (None, "u", "a", "root")] == [401, 401, 401, 200]
    assert knock(gateway, "root").status == 401


def test_a_reload_forgets_what_was_judged_before(start_gateway: Any) -> None:
    config = {"auth": {"tokens": [{"token": "a", "clientId": "a", "scopes": ["mcp:admin"]}]}}
    gateway = start_gateway(config)
    assert knock(gateway, "a").status == 200
    config["auth"]["tokens"] = [{"token": "b", "clientId": "b"}]
    gateway.write(gateway.config | config)
    assert http(gateway.base + "/reload", "POST", {"Authorization": "Bearer a"}).status == 200
    poll(lambda: knock(gateway, "b").status == 200, why="the new token")
    assert knock(gateway, "a").status == 401


def test_no_token_of_a_client_reaches_an_upstream(
    start_gateway: Any, mocks: Any, clients: Any
) -> None:
    server = mocks(ModernServer())
    gateway = start_gateway(
        {"auth": {"token": "canary-token"}, "upstreams": {"up": {"url": server.url}}}
    )
    client = clients(Modern(gateway.url, headers={"Authorization": "Bearer canary-token"}))
    assert client.all("tools")
    assert client.call("up_echo", {"text": "hello"}).result
    seen = repr([(r.headers, r.body) for r in server.requests])
    assert "canary-token" not in seen
    assert "canary-token" not in gateway.logs


# ---- what clients are told of failures ----


@pytest.mark.parametrize(
    "env",
    [
        {"MCP_ENV": "production", "MCP_ALLOW_NO_AUTH": "true"},
        {"MCP_MASK_ERROR_DETAILS": "on"},
    ],
)
def test_masked_details_of_failures_are_not_told(
    env: dict[str, str], start_gateway: Any, mocks: Any, clients: Any
) -> None:
    server = mocks(ModernServer())
    config = {"upstreams": {"up": {"url": server.url}}, "log": {"level": "debug"}}
    plain, masked = start_gateway(config), start_gateway(config, env=env)
    made = [clients(Modern(g.url)) for g in (plain, masked)]
    assert [c.call("up_echo", {"a": 1}).text for c in made] == ['{"a": 1}'] * 2
    assert [c.call("up_fail", {}).text for c in made] == ["it did not work"] * 2
    server.stop()
    told, hidden = [c.call("up_echo", {"a": 1}).error for c in made]
    assert "refused" in told["message"]
    assert hidden["message"] == "upstream up is not available"
    assert hidden["data"] == told["data"] == {"reason": "upstream_unavailable"}
    assert "refused" in masked.wait_log(r"call\.failed.*")
