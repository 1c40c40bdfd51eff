"""What authentication and policy cost a call: function by function, and through gateways."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import harness
import limits
from harness import BenchError

TENANTS, RULES = 200, 1000
MINE = 150
GOALS = {
    "jwt-cached": 1.0,
    "jwt-rs256-cold": 40.0,
    "policy-listed": 1.0,
    "policy-whole": 1.0,
}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*argv: str | Path, data: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *argv], input=data, capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl: {done.stderr.decode()}")
    return done.stdout


def make_token(key: Path) -> str:
    claims = {
        "iss": "https://login.example.com/",
        "aud": "https://mcp.example.com/mcp",
        "sub": "alice@example.com",
        "client_id": "bench",
        "scope": "mcp tools:read tools:write",
        "org": f"tenant-{MINE}",
        "iat": int(time.time()),
        "exp": int(time.time()) + 3600,
    }
    head = {"alg": "RS256", "typ": "at+jwt", "kid": "k1"}
    text = ".".join(b64(json.dumps(part).encode()) for part in (head, claims))
    return f"{text}.{b64(openssl('dgst', '-sha256', '-sign', key, data=text.encode()))}"


def auth_of(key: Path) -> dict[str, object]:
    public = openssl("pkey", "-in", key, "-pubout").decode()
    issuer = {
        "issuer": "https://login.example.com/",
        "audience": "https://mcp.example.com/mcp",
        "publicKey": public,
    }
    return {"type": "jwt", "jwt": issuer}


def policy(for_all: int) -> dict[str, object]:
    """Of the rules so many are for all callers, every tenth of them about arguments; the others are
    the tenants' own, each with the same number."""
    tenants, rules = {}, []
    for n in range(for_all):
        rule: dict[str, object] = {"names": [f"team{n}_*_delete"]}
        if n % 10 == 0:
            rule = {"names": ["*"], "args": {"/env": f"prod-{n}"}}
        rules.append(rule)
    for n in range(TENANTS):
        name = f"tenant-{n}"
        tenants[name] = {"match": {"claim": "org", "value": name}, "tools": {"deny": ["admin_*"]}}
        of = {"tenants": [name]}
        own = [
            {"names": ["*_drop_*"]},
            {"upstreams": ["billing"]},
            {"args": {"/path": {"glob": "/etc/*"}}},
            {"annotations": {"destructive": True}, "effect": "approve"},
            {"names": ["*_purge"], "scopes": ["mcp"]},
        ]
        rules += [of | rule for rule in own[: (RULES - for_all) // TENANTS]]
    assert len(rules) == RULES
    return {"tenants": tenants, "policy": {"rules": rules}}


def by_function(config: dict[str, object], token: str) -> list[dict[str, object]]:
    binary = harness.linked("auth_bench")
    path = harness.OUT / "auth.json"
    path.write_text(
        json.dumps({"upstreams": {"bench": {"url": "http://127.0.0.1:9/mcp"}}} | config)
    )
    done = subprocess.run(
        [binary, path, token, "bench_echo"], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"auth_bench ended with {done.returncode}")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for row in rows:
        if row["target"] in GOALS:
            row["goal_us"] = GOALS[row["target"]]
    return rows


def through_gateways(
    configs: dict[str, tuple[dict[str, object], dict[str, str]]], options: object
) -> list[dict[str, object]]:
    proxy, rest = harness.cores()
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(harness.stub(rest))
        targets = []
        for name, (config, headers) in configs.items():
            more = "".join(f"{key}: {json.dumps(value)}\n" for key, value in config.items())
            gateway = stack.enter_context(
                harness.headgate(harness.HEADGATE, proxy, {"bench": upstream}, "modern", more=more)
            )
            targets.append(limits.Target(name, gateway.port, gateway.process.pid))
            limits.prepare("auth", targets[-1], headers)
        limits.take_turns(targets, None, options)
        return limits.rows_of("auth", targets, options)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = limits.parse_options("auth", __doc__)
    harness.build()
    key = harness.OUT / "auth.pem"
    openssl("genrsa", "-out", key, "2048")
    token = make_token(key)
    jwt = {"auth": auth_of(key)}
    found = by_function(jwt | policy(0), token)
    shared = [row for row in by_function(jwt | policy(200), token) if "policy" in row["target"]]
    found += [
        {"case": "auth", "target": f"{r['target']}-200-for-all", "cpu_us": r["cpu_us"]}
        for r in shared
    ]
    print(f"{'':24}{'CPU µs':>9}{'goal':>7}")
    for row in found:
        print(f"{row['target']:24}{row['cpu_us']:>9.3f}{row.get('goal_us', ''):>7}")
    bearer = {"auth": {"token": "s3cret-of-the-bench"}}
    configs = {
        limits.PLAIN: ({}, {}),
        "bearer": (bearer, {"Authorization": "Bearer s3cret-of-the-bench"}),
        "jwt": (jwt, {"Authorization": f"Bearer {token}"}),
        "jwt-policy": (jwt | policy(200), {"Authorization": f"Bearer {token}"}),
    }
    rows = through_gateways(configs, options)
    limits.show(rows)
    limits.save("auth", found + rows)
    late = [row for row in found if row["cpu_us"] > row.get("goal_us", row["cpu_us"])]
    return 1 if late or any(row["errors"] for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
