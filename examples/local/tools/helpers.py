"""No tools: a file called helpers, or …_helpers, is for its siblings to import."""


def shout(text: str) -> str:
    return text.upper() + "!"
