"""What a session sees: rules that tools add with enable_components and disable_components; the last
that matches wins. Kept in the process, for connections that are one session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .workspace import Component

KINDS = {"tool": "tools", "resource": "resources", "prompt": "prompts"}


@dataclass
class Rule:
    enable: bool
    names: frozenset[str]
    tags: frozenset[str]
    kinds: frozenset[str]
    everything: bool

    def matches(self, component: Component) -> bool:
        if self.kinds and component.kind not in self.kinds:
            return False
        if self.everything:
            return True
        known = {component.name, component.uri, f"{component.kind}:{component.name}"}
        return bool(self.names & known) or bool(self.tags.intersection(component.tags))


def _words(said: Any) -> frozenset[str]:
    return frozenset([said] if isinstance(said, str) else said or ())


class Visibility:
    def __init__(self, changed: Callable[[Iterable[str]], None]) -> None:
        """`changed` is told which lists ("tools", "resources", "prompts") may look different
        now."""
        self.rules: dict[str, list[Rule]] = {}
        self.changed = changed

    def add(self, session: str, enable: bool, which: dict[str, Any]) -> None:
        kinds = frozenset(each.rstrip("s") for each in _words(which.get("components")))
        names = _words(which.get("names")) | _words(which.get("keys"))
        rule = Rule(enable, names, _words(which.get("tags")), kinds, which.get("match_all") is True)
        self.rules.setdefault(session, []).append(rule)
        self.changed([KINDS[kind] for kind in KINDS if not kinds or kind in kinds])

    def reset(self, session: str) -> None:
        if self.rules.pop(session, None):
            self.changed(KINDS.values())

    def sees(self, session: str, component: Component) -> bool:
        for rule in reversed(self.rules.get(session, ())):
            if rule.matches(component):
                return rule.enable
        return True
