"""Files that are never served, whatever folder they are in: caches, keys, and what is called a
secret."""

from __future__ import annotations

from fnmatch import fnmatchcase

PATTERNS = (
    "__pycache__", "*.pyc", "*.pyo", "*.pyd", ".pytest_cache", ".ruff_cache", ".mypy_cache",
    ".coverage", "htmlcov", ".ds_store", "thumbs.db", ".env", "*.env", "*.pem", "*.key", "*.p12",
    "id_rsa", "*secret*",
)  # fmt: skip


def is_blocked(path: str, allowed: tuple[str, ...]) -> bool:
    """Whether a path below the workspace (`knowledge/a/b.md`) is blocked; `allowed` are patterns
    that lift it."""
    if any(fnmatchcase(each, pattern) for each in (path, path.lower()) for pattern in allowed):
        return False
    lower = path.lower()
    names = [lower, *lower.split("/")[1:]]
    return any(fnmatchcase(name, pattern) for name in names for pattern in PATTERNS)
