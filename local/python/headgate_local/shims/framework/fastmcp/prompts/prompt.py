from headgate_local.content import Message, PromptResult
from headgate_local.stubs import Prompt, prompt

__all__ = ["Message", "Prompt", "PromptResult", "prompt"]
