"""python3 -m headgate_local: serves a workspace on stdin and stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import fields

from . import LoadError, OptionError, Options, describe, load, serve


def arguments() -> argparse.Namespace:
    listed = "\n".join(
        f"  {each.metadata['variable']:34} {each.metadata['what']}" for each in fields(Options)
    )
    parser = argparse.ArgumentParser(
        prog="headgate_local",
        description="Serves a folder of tools, resources, prompts and knowledge as an MCP server.",
        epilog=f"variables:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workspace", default=os.environ.get("MCP_WORKSPACE", "."), metavar="DIR")
    parser.add_argument("--strict", action="store_true", help="refuse to serve when a file fails")
    parser.add_argument(
        "--describe", action="store_true", help="print what was loaded as JSON, and exit"
    )
    return parser.parse_args()


def main() -> int:
    given = arguments()
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        options = Options.from_environ(os.environ, **({"strict": True} if given.strict else {}))
        workspace = load(given.workspace, options)
    except (OptionError, LoadError) as e:
        os.write(2, f"headgate_local: {e}\n".encode())
        return 2
    if given.describe:
        os.write(out, json.dumps(describe(workspace), indent=2).encode() + b"\n")
        return 1 if workspace.errors else 0
    serve(workspace, 0, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
