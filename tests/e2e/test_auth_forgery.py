"""Tokens that are wrong in one way each: none gets in, none makes the gateway ask anywhere."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from idp import CURVES, Idp, b64, compact, encode, jwk, make_key, pem, rsa_key, sign
from test_auth import ALGORITHMS, knock
from wire import Conn

Forgery = tuple[str, Any]


def headers(idp: Idp) -> Iterator[Forgery]:
    """The header is wrong, the signature over it is right."""
    own = make_key("ES256")
    spots = {
        "jku": idp.issuer + "/evil",
        "x5u": idp.issuer + "/evil.pem",
        "jwk": jwk(own),
        "x5c": ["MIIB"],
        "crit": ["exp"],
        "b64": False,
        "zip": "DEF",
        "cty": "JWT",
    }
    for name, value in spots.items():
        yield f"header {name}", idp.token(header={name: value})
        yield (
            f"header {name} null",
            compact(
                {"alg": "RS256", "kid": "k1", name: None}, idp.claims(), "RS256", idp.keys["k1"][1]
            ),
        )
    yield "crit empty", idp.token(header={"crit": []})
    yield (
        "own jwk, own signature",
        compact({"alg": "ES256", "jwk": jwk(own)}, idp.claims(), "ES256", own),
    )
    for typ in ("logout+jwt", "dpop+jwt", "JWE", "id_token", 7, ["JWT"], {}):
        yield f"typ {typ}", idp.token(header={"typ": typ})
    for alg in ("none", "None", "NONE", "nOnE", "", "rs256", "RS1", "RS256 ", "RSA", "HS257", None):
        head = {"alg": alg, "kid": "k1"}
        body = f"{encode(head)}.{encode(idp.claims())}"
        yield f"alg {alg!r} unsigned", body + "."
        yield f"alg {alg!r} no third part", body
        yield f"alg {alg!r} signed", body + "." + b64(sign("RS256", rsa_key(), body.encode()))
    for alg in (256, True, ["RS256"], {"alg": "RS256"}):
        yield f"alg {alg!r}", compact({"alg": alg, "kid": "k1"}, idp.claims(), "RS256", rsa_key())
    for raw in (
        '{"alg":"none","alg":"RS256","kid":"k1"}',
        '{"alg":"RS256","alg":"none","kid":"k1"}',
        '{"alg":"RS256","\\u0061lg":"none","kid":"k1"}',
        '{"alg":"RS256","kid":"k1","kid":"k2"}',
        '{"alg":"RS256","kid":"k1"} ',
        '{"alg":"RS256","kid":"k1"',
        '["RS256"]',
        '"RS256"',
        "",
        '{"alg":"RS256","kid":"k1"}{}',
        '{"alg":"RS256\\u0000","kid":"k1"}',
    ):
        if raw.endswith("} "):
            continue  # a blank behind it is JSON
        yield f"header text {raw!r}", compact(raw, idp.claims(), "RS256", rsa_key())


def confusions(idp: Idp) -> Iterator[Forgery]:
    """The public key as a secret, and keys of one kind for algorithms of another."""
    public = pem(rsa_key())
    for alg in ("HS256", "HS384", "HS512"):
        for kid in ("k1", "es", None):
            head = {"alg": alg} | ({"kid": kid} if kid else {})
            secrets = [public, public.strip(), json.dumps(jwk(rsa_key())), "", "secret"]
            for i, secret in enumerate(secrets[: 2 if kid else 5]):
                yield (
                    f"{alg} kid {kid} secret {i}",
                    compact(head, idp.claims(), alg, secret.encode()),
                )
    yield (
        "RS token, ES key's id",
        compact({"alg": "RS256", "kid": "es"}, idp.claims(), "RS256", rsa_key()),
    )
    yield (
        "ES token, RS key's id",
        compact({"alg": "ES256", "kid": "k1"}, idp.claims(), "ES256", idp.keys["es"][1]),
    )
    yield (
        "says RS256, signed PS256",
        compact({"alg": "RS256", "kid": "k1"}, idp.claims(), "PS256", rsa_key()),
    )
    yield (
        "says ES384, signed ES256",
        compact({"alg": "ES384", "kid": "es"}, idp.claims(), "ES256", idp.keys["es"][1]),
    )
    yield (
        "weaker digest than the key's",
        compact({"alg": "RS256", "kid": "rs512"}, idp.claims(), "RS256", rsa_key()),
    )
    yield "no kid, several keys", compact({"alg": "RS512"}, idp.claims(), "RS512", rsa_key())
    stranger = make_key("ES256")
    yield (
        "another key, a known id",
        compact({"alg": "ES256", "kid": "es"}, idp.claims(), "ES256", stranger),
    )
    kids = ["../../etc/passwd", "k1' OR '1'='1", "k1\x00", "K1", "k1 ", "", "x" * 257, "é"]
    for kid in [*kids, "/dev/null", "http://127.0.0.1/k", 1, None, ["k1"], {"kid": "k1"}]:
        yield (
            f"kid {str(kid)[:20]!r}",
            compact({"alg": "ES256", "kid": kid}, idp.claims(), "ES256", stranger),
        )


def claims(idp: Idp) -> Iterator[Forgery]:
    """Claims that are wrong, signed rightly."""
    now = int(time.time())
    changes: dict[str, list[Any]] = {
        "iss": [
            None,
            "",
            idp.issuer + "/",
            idp.issuer.upper(),
            idp.issuer[:-1],
            "https://evil.example",
            [idp.issuer],
            7,
        ],
        "aud": [
            None,
            "",
            "headgate",
            "headgate-tests/",
            "Headgate-Tests",
            "headgate-tests-2",
            ["headgate"],
            [],
            ["other", 7],
            7,
            {"headgate-tests": 1},
            "other headgate-tests",
            "headgate-tests\x00",
        ],
        "exp": [
            None,
            now - 31,
            0,
            -1,
            str(now + 60),
            now + 60.5,
            True,
            [now + 60],
            now + 8 * 86400,
            2**63,
        ],
        "nbf": [now + 120, str(now), now + 0.5, -1],
        "iat": [now + 120, "now", now - 2 * 86400],
        "sub": [7, ["alice"], "a\nb", "x" * 2000],
        "client_id": [7, "a\x00b"],
        "scope": [7, {"a": 1}, 'a"b', ["a b"], [1], "é"],
    }
    for name, values in changes.items():
        for value in values:
            if name == "iat" and value == now - 2 * 86400:
                yield "lifetime over a day", idp.token(iat=value, exp=now + 60)
            else:
                yield f"{name}={str(value)[:24]!r}", idp.token(**{name: value})
    yield "nobody", idp.token(sub=None, client_id=None)
    good = json.dumps(idp.claims())[1:]
    key = idp.keys["k1"][1]
    head = {"alg": "RS256", "kid": "k1"}
    for twice in ('"iss":"x",', '"aud":"x",', '"exp":1,', '"sub":"root",', '"s\\u0075b":"root",'):
        yield f"twice {twice}", compact(head, "{" + twice + good, "RS256", key)
    for text in ("[]", "null", "1", '"x"', "", "{", "{" + good + "x", '{"exp":1e400,' + good):
        yield f"claims {text[:12]!r}", compact(head, text, "RS256", key)
    yield "claims in UTF-16", compact(head, ("{" + good).encode("utf-16"), "RS256", key)
    yield (
        "nested deep",
        compact(head, "{" + '"a":' + "[" * 40 + "]" * 40 + "," + good, "RS256", key),
    )


def shapes(idp: Idp) -> Iterator[Forgery]:
    """Not compact JWS, or a signature that was tampered with."""
    good = idp.token()
    head, body, signature = good.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    yield "two parts", f"{head}.{body}"
    yield "four parts", f"{good}.{signature}"
    yield "five parts", f"{head}.{head}.{body}.{body}.{signature}"
    yield "empty parts", ".."
    yield "dot", "."
    yield "signature empty", f"{head}.{body}."
    yield "signature cut", f"{head}.{body}.{b64(raw[:-1])}"
    yield "signature longer", f"{head}.{body}.{b64(raw + b'0')}"
    yield "signature padded", f"{head}.{body}.{signature}=="
    yield "signature zero", f"{head}.{body}.{b64(bytes(256))}"
    yield "signature flipped", f"{head}.{body}.{b64(bytes([raw[0] ^ 1]) + raw[1:])}"
    yield "plain base64", f"{head}.{body}.{signature.replace('-', '+').replace('_', '/')}+"
    yield "another's body", f"{head}.{encode(idp.claims(sub='root'))}.{signature}"
    yield "trailing bits", f"{head}.{body}.{signature[:-1]}{'B' if signature[-1] != 'B' else 'C'}"
    yield "too long", idp.token(pad="x" * 9000)
    es_head, es_body, es = idp.token("es").split(".")
    r_s = base64.urlsafe_b64decode(es + "==")
    size = CURVES["ES256"][2]
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for name, value in {
        "zero r and s": bytes(64),
        "zero r": bytes(size) + r_s[size:],
        "zero s": r_s[:size] + bytes(size),
        "r of the order": order.to_bytes(32, "big") + r_s[size:],
        "r and s swapped": r_s[size:] + r_s[:size],
        "short": r_s[1:],
        "long": b"\0" + r_s,
        "DER": bytes.fromhex("3044") + bytes(68),
        "all ones": b"\xff" * 64,
    }.items():
        yield f"ES256 {name}", f"{es_head}.{es_body}.{b64(value)}"
    yield "json serialization", b64(json.dumps({"payload": body, "signature": signature}).encode())


@pytest.fixture
def idp() -> Iterator[Idp]:
    made = Idp("RS256")
    made.add("ES256", "es")
    made.add("RS512", "rs512", alg="RS512")
    yield made
    made.close()


def test_no_forgery_gets_in_and_none_is_asked_about(start_gateway: Any, idp: Idp) -> None:
    gateway = start_gateway({"auth": {"jwt": idp.config(algorithms=ALGORITHMS)}})
    assert knock(gateway, idp.token()).status == 200
    assert knock(gateway, idp.token("es")).status == 200
    forgeries = [f for make in (headers, confusions, claims, shapes) for f in make(idp)]
    assert len({name for name, _ in forgeries}) == len(forgeries) >= 120
    wrong = []
    for name, token in forgeries:
        answer = knock(gateway, token)
        told = answer.header("www-authenticate") or ""
        if answer.status == 431 and len(token) > 8192:
            continue
        if answer.status != 401 or "resource_metadata=" not in told:
            wrong.append((name, answer.status, told))
    assert not wrong
    assert idp.other_requests == []
    assert idp.fetches <= 2
    assert knock(gateway, idp.token()).status == 200


def test_the_way_a_token_comes_is_held_to_its_form(start_gateway: Any, idp: Idp) -> None:
    gateway = start_gateway({"auth": {"type": "multi", "token": "t", "jwt": idp.config()}})
    good = idp.token()
    for field, status in {
        f"Bearer {good}": 200,
        f"bearer {good}": 200,
        f"BEARER   {good}": 200,
        f"Bearer{good}": 401,
        f"Bearer\t{good}": 401,
        f"Bearer {good},": 401,
        f"Bearer {good} {good}": 401,
        f"Bearer {good}, Bearer {good}": 401,
        f"Token {good}": 401,
        f"Bearer {good}\xa0": 401,
        "Bearer ": 401,
        "Bearer": 401,
        "Bearer =": 401,
        good: 401,
        "": 401,
    }.items():
        conn = Conn(gateway.host_port)
        conn.send(
            b"GET /mcp HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
            b"Authorization: " + field.encode("latin-1") + b"\r\n\r\n"
        )
        got = conn.head().status
        assert got == (405 if status == 200 else status), field[:40]
        conn.close()


def test_no_path_of_an_oauth_proxy_is_there(start_gateway: Any, idp: Idp) -> None:
    gateway = start_gateway({"auth": {"jwt": idp.config()}})
    for path in ("/authorize", "/token", "/register", "/.well-known/openid-configuration"):
        assert gateway.get(path).status == 404
