"""Olmo 3 and 3.1: ChatML with functions; and the thinking models, which have none."""

from dataclasses import dataclass

from mlx_ollama.api.messages import Message, Tool, ToolCall
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import marshal, tool_json
from mlx_ollama.prompt.renderers.values import sorted_arguments

PLAIN = "You are a helpful function-calling AI assistant. "
IDENTITY = (
    "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, "
    "and your model weights are available at https://huggingface.co/allenai."
)
THINK_32B = "You are a helpful AI assistant."
_NO_FUNCTIONS = "You do not currently have access to any functions. "
_FUNCTIONS = (
    "You are provided with function signatures within <functions></functions> XML tags. You may call one or more "
    "functions to assist with the user query. Output any function calls within <function_calls></function_calls> "
    "XML tags. Do not make assumptions about what values to plug into functions."
)


def _system_text(conversation: Conversation) -> str | None:
    texts = [message.content for message in conversation.messages if message.role == "system"]
    return texts[0] if texts else None


@dataclass(frozen=True)
class Olmo3:
    """`identity` is the system text where the conversation has none."""

    identity: str
    leading_bos = ""

    def render(self, conversation: Conversation) -> str:
        messages = [message for message in conversation.messages if message.role != "system"]
        turns = [_turn(messages, at) for at in range(len(messages))]
        last = messages[-1] if messages else None
        continues = last and last.role == "assistant" and last.content and not last.tool_calls
        opening = "" if continues else "<|im_start|>assistant\n"
        return self._system(conversation) + "".join(turns) + opening

    def _system(self, conversation: Conversation) -> str:
        system = _system_text(conversation)
        if system is None:
            text = self.identity + (_FUNCTIONS if conversation.tools else _NO_FUNCTIONS)
            text += _functions(conversation.tools)
        else:
            text = system + (_functions(conversation.tools) if conversation.tools else "")
        return f"<|im_start|>system\n{text}<|im_end|>\n"


def _functions(tools: list[Tool]) -> str:
    listed = marshal([tool_json(tool) for tool in tools], spaced=True) if tools else ""
    return f"<functions>{listed}</functions>"


def _turn(messages: list[Message], at: int) -> str:
    message = messages[at]
    match message.role:
        case "user":
            return f"<|im_start|>user\n{message.content}<|im_end|>\n"
        case "assistant":
            is_open = at == len(messages) - 1 and not message.tool_calls
            body = message.content + _calls(message.tool_calls)
            return f"<|im_start|>assistant\n{body}" + ("" if is_open else "<|im_end|>\n")
        case "tool":
            return f"<|im_start|>environment\n{message.content}<|im_end|>\n"
        case _:
            return ""


def _calls(calls: list[ToolCall]) -> str:
    if not calls:
        return ""
    written = [
        f"{call.function.name}("
        + ", ".join(f"{name}={marshal(value)}" for name, value in sorted_arguments(call))
        + ")"
        for call in calls
    ]
    return f"<function_calls>{chr(10).join(written)}</function_calls>"


@dataclass(frozen=True)
class Olmo3Think:
    """Always thinks; tool results and calls have no place in the format."""

    identity: str
    leading_bos = ""

    def render(self, conversation: Conversation) -> str:
        system = _system_text(conversation)
        if system is None:
            text = self.identity
        else:
            text = f"{system} {_NO_FUNCTIONS}<functions></functions>"
        turns = [
            f"<|im_start|>{message.role}\n{message.content}<|im_end|>\n"
            for message in conversation.messages
            if message.role in ("user", "assistant")
        ]
        return (
            f"<|im_start|>system\n{text}<|im_end|>\n"
            + "".join(turns)
            + "<|im_start|>assistant\n<think>"
        )
