"""What the store costs in memory and in Redis; with --chaos, how soon it is back when Redis is."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import harness
from harness import BenchError

Row = dict[str, object]
BACK_MS = 1000  # the promise of docs/store.md, with the machine's own noise


def rows(chaos: bool = False) -> list[Row]:
    binary = harness.linked("store_bench")
    argv = [binary, *(["chaos"] if chaos else [])]
    done = subprocess.run(argv, cwd=harness.ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise BenchError(f"store_bench ended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def print_costs(found: list[Row]) -> None:
    print("\nstore: CPU of the gateway's side, an operation")
    print(f"{'':8}{'':24}{'depth':>6}{'CPU ns':>9}{'op/s':>10}{'p50 µs':>8}{'p99 µs':>8}")
    for row in found:
        line = f"{row['target']:8}{row['op']:24}{row.get('depth', ''):>6}{row['cpu_ns']:>9,}"
        if "rps" in row:
            line += f"{row['rps']:>10,}{row['p50_us']:>8,}{row['p99_us']:>8,}"
        print(line)
    sys.stdout.flush()


def print_chaos(found: list[Row]) -> None:
    print("\nstore, Redis going away under load; back: from Redis' first answer to ours")
    head = f"{'':44}{'away ms':>9}{'back ms':>9}{'slowest op ms':>15}"
    print(f"{head}{'ops':>9}{'ended':>9}")
    for row in found:
        line = f"{row['target']:44}{row['away_ms']:>9,}{row['back_ms']:>9,}"
        print(f"{line}{row['slowest_op_ms']:>15,}{row['ops']:>9,}{row['ended']:>9,}")


def broken(found: list[Row]) -> bool:
    return any(
        row.get("errors")
        or row.get("ops") != row.get("ended")
        or int(str(row.get("back_ms", 0))) > BACK_MS
        for row in found
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench/store", description=__doc__)
    parser.add_argument("--chaos", action="store_true", help="about two minutes")
    chaos = parser.parse_args().chaos
    found = rows(chaos)
    (print_chaos if chaos else print_costs)(found)
    return 1 if broken(found) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(f"bench: {error}")
