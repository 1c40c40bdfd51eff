"""What /proc says of processes: who descends from whom, who lives, who is a zombie."""

from __future__ import annotations

from pathlib import Path


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and parent; None when there is no such process."""
    try:
        after = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return after[0], int(after[1])


def exists(pid: int) -> bool:
    """Zombies exist too."""
    return _stat(pid) is not None


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            parents.setdefault(stat[1], []).append(int(entry.name))
    out: list[int] = []
    todo = [pid]
    while todo:
        found = parents.get(todo.pop(), [])
        out += found
        todo += found
    return out


def zombies(pid: int) -> list[int]:
    """Descendants that ended and were not reaped."""
    return [p for p in descendants(pid) if (stat := _stat(p)) and stat[0] == "Z"]


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
