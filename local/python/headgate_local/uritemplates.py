"""The part of RFC 6570 that resource templates use: `{p}` is one segment, `{p*}` one or more,
`{?a,b}` a query.

A value is percent-decoded once, after the match, and refused when it could leave a folder: `..` as
a segment, a leading `/` or drive, a NUL."""

from __future__ import annotations

import re
from urllib.parse import unquote

EXPRESSION = re.compile(r"\{([^{}]*)\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DRIVE = re.compile(r"[A-Za-z]:")


class TemplateError(ValueError):
    pass


class Unsafe(ValueError):
    """A value that points outside of where it belongs."""


class UriTemplate:
    def __init__(self, text: str) -> None:
        self.text = text
        self.path: list[str] = []
        self.query: list[str] = []
        pattern, at = "", 0
        for found in EXPRESSION.finditer(text):
            if self.query:
                raise TemplateError(f"{text}: nothing may follow {{?…}}")
            pattern += re.escape(text[at : found.start()])
            pattern += self._expression(found.group(1))
            at = found.end()
        rest = text[at:]
        if "{" in rest or "}" in rest or (self.query and rest):
            raise TemplateError(f"{text}: unbalanced braces")
        names = self.path + self.query
        if len(set(names)) != len(names):
            raise TemplateError(f"{text}: a name occurs twice")
        self.pattern = re.compile(pattern + re.escape(rest))
        self.asks = "?" in EXPRESSION.sub("", text)

    def _expression(self, inner: str) -> str:
        if inner.startswith("?"):
            self.query = [each.strip() for each in inner[1:].split(",")]
            self._check(self.query)
            return ""
        many = inner.endswith("*")
        name = inner.rstrip("*")
        self._check([name])
        self.path.append(name)
        return f"(?P<{name}>{'.+' if many else '[^/?#]+'})"

    def _check(self, names: list[str]) -> None:
        for name in names:
            if not NAME.fullmatch(name):
                raise TemplateError(f"{self.text}: {{{name}}} is not understood")

    @property
    def names(self) -> list[str]:
        return self.path + self.query

    def match(self, uri: str) -> dict[str, str] | None:
        """The values of a URI, or None when it is not of this template. Raises Unsafe."""
        if len(uri) > 8192:
            return None
        base, _, query = (uri, "", "") if self.asks else uri.partition("?")
        found = self.pattern.fullmatch(base)
        if found is None:
            return None
        out = {name: unquote(value) for name, value in found.groupdict().items()}
        for pair in query.split("&") if query else ():
            name, _, value = pair.partition("=")
            if unquote(name) in self.query:
                out[unquote(name)] = unquote(value.replace("+", " "))
        for name in self.path:
            screen(name, out[name])
        return out


def screen(name: str, value: str) -> None:
    parts = value.replace("\\", "/").split("/")
    if ".." in parts or value.startswith(("/", "\\")) or DRIVE.match(value) or "\0" in value:
        raise Unsafe(f"{name} may not point elsewhere")
