from headgate_local.content import ToolResult
from headgate_local.stubs import FunctionTool, Tool, tool

__all__ = ["FunctionTool", "Tool", "ToolResult", "tool"]
