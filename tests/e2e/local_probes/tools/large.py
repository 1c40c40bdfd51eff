"""Apart from the others: it may take its time."""


def large_result() -> str:
    return "x" * (20 * 1024 * 1024)
