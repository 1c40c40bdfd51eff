"""An issuer of tokens: its keys, its key set over HTTP, and tokens right and wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES = {
    "ES256": (ec.SECP256R1, "P-256", 32),
    "ES384": (ec.SECP384R1, "P-384", 48),
    "ES512": (ec.SECP521R1, "P-521", 66),
}
_rsa_keys: list[rsa.RSAPrivateKey] = []


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def uint(n: int, size: int | None = None) -> str:
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, "big"))


def rsa_key(i: int = 0) -> rsa.RSAPrivateKey:
    """RSA keys are slow to make: the same ones for all tests of a process."""
    while len(_rsa_keys) <= i:
        _rsa_keys.append(rsa.generate_private_key(65537, 2048))
    return _rsa_keys[i]


def make_key(alg: str, i: int = 0) -> Any:
    if alg[:2] in ("RS", "PS"):
        return rsa_key(i)
    if alg in CURVES:
        return ec.generate_private_key(CURVES[alg][0]())
    return ed25519.Ed25519PrivateKey.generate()


def sign(alg: str, key: Any, data: bytes) -> bytes:
    if alg.startswith("HS"):
        return hmac.new(key, data, getattr(hashlib, "sha" + alg[2:])).digest()
    if alg.startswith("RS"):
        return key.sign(data, padding.PKCS1v15(), HASHES[alg[2:]]())
    if alg.startswith("PS"):
        digest = HASHES[alg[2:]]()
        return key.sign(
            data, padding.PSS(padding.MGF1(digest), salt_length=digest.digest_size), digest
        )
    if alg in CURVES:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(HASHES[alg[2:]]())))
        size = CURVES[alg][2]
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return key.sign(data)


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        n = public.public_numbers()
        return {"kty": "RSA", "n": uint(n.n), "e": uint(n.e)} | more
    if isinstance(public, ec.EllipticCurvePublicKey):
        n, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        crv = f"P-{public.curve.key_size}"
        return {"kty": "EC", "crv": crv, "x": uint(n.x, size), "y": uint(n.y, size)} | more
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)} | more


def pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def encode(value: Any) -> str:
    """A part of a token; text and bytes go as they are."""
    if isinstance(value, str):
        return b64(value.encode())
    if isinstance(value, bytes):
        return b64(value)
    return b64(json.dumps(value, separators=(",", ":")).encode())


def compact(header: Any, claims: Any, alg: str, key: Any) -> str:
    data = f"{encode(header)}.{encode(claims)}"
    return f"{data}.{b64(sign(alg, key, data.encode()))}"


class Idp:
    """An issuer with one or more keys, and their set at .jwks_url."""

    def __init__(self, alg: str = "RS256", audience: str = "headgate-tests") -> None:
        idp = self
        self.audience, self.keys, self.fetches, self.status = audience, {}, 0, 200
        self.other_requests: list[str] = []
        self.gate = threading.Event()  # cleared: fetches wait
        self.gate.set()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                idp.serve(self)

            do_POST = do_GET  # noqa: N815 (the name is the base class's)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        self.jwks_url = f"{self.issuer}/jwks"
        self.add(alg, "k1")
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def add(self, kind: str, kid: str, index: int = 0, **more: Any) -> None:
        self.keys[kid] = (kind, make_key(kind, index), more)

    def jwks(self) -> bytes:
        listed = [jwk(key, kid=kid, **more) for kid, (_, key, more) in self.keys.items()]
        return json.dumps({"keys": listed}).encode()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        body = b""
        if request.path == "/jwks":
            self.fetches += 1
            self.gate.wait(20)
            body = self.jwks()
        else:
            self.other_requests.append(request.path)
        status = self.status if request.path == "/jwks" else 404
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def claims(self, **more: Any) -> dict[str, Any]:
        """Right claims, with what is given put in, or taken out where it is None."""
        now = int(time.time())
        base = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "alice",
            "client_id": "app",
            "iat": now,
            "exp": now + 600,
        }
        return {k: v for k, v in (base | more).items() if v is not None}

    def token(self, kid: str | None = None, header: Any = None, **claims: Any) -> str:
        kid = kid or next(iter(self.keys))
        alg, key, _ = self.keys[kid]
        head = {"alg": alg, "typ": "at+jwt", "kid": kid} | (header or {})
        head = {k: v for k, v in head.items() if v is not None}
        return compact(head, self.claims(**claims), alg, key)

    def config(self, **more: Any) -> dict[str, Any]:
        """For `auth.jwt`."""
        return {"issuer": self.issuer, "audience": self.audience, "jwksUri": self.jwks_url} | more
