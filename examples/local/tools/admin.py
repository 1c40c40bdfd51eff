"""Metadata of a file: who may call its tools, how often, how long they may take, and what they may
use."""

__tags__ = ["admin", "internal"]
__required_scopes__ = ["admin:write"]
__rate_limit__ = "5/min"
__timeout__ = 1.5
__max_memory_mb__ = 64
__max_output_size_kb__ = 16
__annotations_mcp__ = {"title": "Purge the cache", "destructiveHint": True}


def purge(prefix: str = "") -> dict:
    """Pretends to purge a cache."""
    return {"status": "PASS", "purged": prefix or "all"}


def report_size(kilobytes: int) -> str:
    """Gives so much text; more than the limit is an error."""
    return "x" * (kilobytes * 1024)
