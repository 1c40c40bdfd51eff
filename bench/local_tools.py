"""The tools that `./dev bench local` calls: the same functions in Headgate and in FastMCP."""


def echo(message: str) -> str:
    """Answers."""
    return "bench-ok"


async def aecho(message: str) -> str:
    """Answers, asynchronously."""
    return "bench-ok"
