"""Dependencies: parameters that the runtime fills in and no client sees."""

from collections.abc import Iterator

from fastmcp.dependencies import CurrentContext, Depends

OPEN: list[str] = []


def _connection() -> Iterator[str]:
    """What stands before the yield runs before the tool, what follows runs after it."""
    OPEN.append("connection")
    try:
        yield f"connection {len(OPEN)}"
    finally:
        OPEN.pop()


def query(sql: str, db=Depends(_connection), ctx=CurrentContext()) -> str:
    """Runs a query that is none."""
    return f"{db} in request {ctx.request_id}: {sql}"


def connections() -> int:
    """How many connections are open: none, between calls."""
    return len(OPEN)
