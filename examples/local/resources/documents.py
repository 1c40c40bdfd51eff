"""Templates: {id} is one segment, {path*} one or more, {?…} a query whose parameters have
defaults."""

from typing import Literal

RESOURCES = {
    "users://{id}/profile": "profile",
    "files://{path*}": "file",
    "search://{topic}{?limit,order}": "search",
}


def profile(id: int) -> dict:
    """A user's profile. The parameter's type is checked: an id is a number."""
    return {"id": id, "name": f"user {id}"}


def file(path: str) -> str:
    """A file by its path, which cannot lead out: .. is refused before the function runs."""
    return f"the contents of {path}"


def search(topic: str, limit: int = 10, order: Literal["new", "old"] = "new") -> str:
    """What there is on a topic."""
    return f"{limit} {order} things about {topic}"
