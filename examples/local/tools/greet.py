"""The smallest tool: a function. Its name, signature and docstring are what clients see."""


def greet(name: str, excited: bool = False) -> str:
    """Greets somebody.

    Args:
        name: Who is greeted.
        excited: Whether it is said loudly.
    """
    return f"Hello, {name}{'!' if excited else '.'}"
