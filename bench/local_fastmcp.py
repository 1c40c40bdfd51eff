"""local_tools.py served by FastMCP over HTTP on the port that is given."""

import sys

import local_tools
from fastmcp import FastMCP

server = FastMCP("bench")
server.tool(local_tools.echo)
server.tool(local_tools.aecho)
server.run(
    transport="http",
    host="127.0.0.1",
    port=int(sys.argv[1]),
    show_banner=False,
    uvicorn_config={"access_log": False, "log_level": "warning"},
)
