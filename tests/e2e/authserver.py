"""An authorization server: metadata (RFC 8414), registration of clients (RFC 7591), and codes with
PKCE (RFC 7636) for a resource (RFC 8707). It consents to everything that is asked for in the right
way, and keeps what was not."""

from __future__ import annotations

import hashlib
import json
import secrets
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from idp import Idp, b64

Answer = tuple[int, dict[str, str], bytes]


def as_json(status: int, document: Any) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(document).encode()


class AuthServer(Idp):
    """resource: what tokens are for; set before clients come."""

    def __init__(self) -> None:
        super().__init__("RS256")
        self.resource = ""
        self.clients: dict[str, list[str]] = {}  # their redirect URIs
        self.codes: dict[str, dict[str, str]] = {}
        self.violations: list[str] = []
        self.asked: list[str] = []  # scopes of the authorizations, in order

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "jwks_uri": self.jwks_url,
            "scopes_supported": ["mcp", "notes:write"],
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "token_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        at = urlsplit(request.path)
        length = int(request.headers.get("Content-Length") or 0)
        body = request.rfile.read(length)
        query = dict(parse_qsl(at.query))
        if at.path == "/.well-known/oauth-authorization-server":
            status, fields, out = as_json(200, self.metadata())
        elif at.path == "/register":
            status, fields, out = self.register(json.loads(body))
        elif at.path == "/authorize":
            status, fields, out = self.authorize(query)
        elif at.path == "/token":
            status, fields, out = self.redeem(dict(parse_qsl(body.decode())))
        else:
            super().serve(request)
            return
        request.send_response(status)
        for name, value in fields.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(out)))
        request.end_headers()
        request.wfile.write(out)

    def wrong(self, what: str) -> Answer:
        self.violations.append(what)
        return as_json(400, {"error": "invalid_request", "error_description": what})

    def register(self, metadata: dict[str, Any]) -> Answer:
        name = f"client-{len(self.clients) + 1}"
        self.clients[name] = metadata["redirect_uris"]
        return as_json(201, metadata | {"client_id": name})

    def authorize(self, query: dict[str, str]) -> Answer:
        redirect = query.get("redirect_uri", "")
        if redirect not in self.clients.get(query.get("client_id", ""), []):
            return self.wrong(f"authorize: client or redirect {query}")
        if query.get("response_type") != "code" or query.get("code_challenge_method") != "S256":
            return self.wrong(f"authorize: no code with S256 {query}")
        if query.get("resource") != self.resource:
            return self.wrong(f"authorize: resource {query.get('resource')}")
        self.asked.append(query.get("scope", ""))
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = {"code": code, "state": query.get("state", ""), "iss": self.issuer}
        return 302, {"Location": f"{redirect}?{urlencode(back)}"}, b""

    def redeem(self, form: dict[str, str]) -> Answer:
        asked = self.codes.pop(form.get("code", ""), None)
        if form.get("grant_type") != "authorization_code" or not asked:
            return self.wrong(f"token: no such code {form}")
        challenge = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if challenge != asked["code_challenge"]:
            return self.wrong("token: the verifier is not the challenge's")
        for name in ("client_id", "redirect_uri", "resource"):
            if form.get(name) != asked[name]:
                return self.wrong(f"token: {name} {form.get(name)}")
        scope = asked.get("scope", "")
        token = self.token(aud=self.resource, client_id=asked["client_id"], scope=scope)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": 600, "scope": scope}
        return as_json(200, answer)
