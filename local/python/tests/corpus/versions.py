"""Prints which fastmcp and pydantic an interpreter has."""

import json
from importlib.metadata import version

print(json.dumps(f"fastmcp {version('fastmcp')} (pydantic {version('pydantic')})"))
