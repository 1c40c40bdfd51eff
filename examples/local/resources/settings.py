"""A static resource: RESOURCE_URI, and the function that answers it."""

RESOURCE_URI = "config://settings"


def settings() -> dict:
    """The settings. An object is written as JSON."""
    return {"theme": "dark", "retries": 3}
