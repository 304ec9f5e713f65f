"""Qwen3-VL: ChatML with images, tools as JSON; the thinking model and the instruct one."""

from dataclasses import dataclass

from mlx_ollama.api.messages import Message
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.go_json import arguments_json, marshal, tool_json
from mlx_ollama.prompt.renderers.history import is_on, is_prefill
from mlx_ollama.prompt.renderers.images import ImageMarks
from mlx_ollama.prompt.renderers.qwen3_coder import tool_result

VISION_MARK = "<|vision_start|><|image_pad|><|vision_end|>"
_TOOLS_HEAD = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>"""
_TOOLS_TAIL = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call><|im_end|>
"""


def last_query(messages: list[Message], texts: list[str]) -> int:
    """The last turn of the user that is not a tool's answer; the last message where there is none."""
    for at in reversed(range(len(messages))):
        text = texts[at]
        is_answer = text.startswith("<tool_response>") and text.endswith("</tool_response>")
        if messages[at].role == "user" and not is_answer:
            return at
    return len(messages) - 1


@dataclass(frozen=True)
class Qwen3VL:
    thinks: bool
    image_tags: bool = True
    leading_bos = ""

    def render(self, conversation: Conversation) -> str:
        messages = conversation.messages
        marks = ImageMarks(self.image_tags, VISION_MARK)
        texts = [marks.text(message) for message in messages]
        thinks = is_on(conversation.think, default=self.thinks)
        query = last_query(messages, texts)
        turns = [
            self._turn(messages, at, texts[at], thinks, at > query) for at in range(len(messages))
        ]
        return self._system(conversation) + "".join(turns) + _opening(messages, thinks)

    def _system(self, conversation: Conversation) -> str:
        messages = conversation.messages
        has_system = bool(messages) and messages[0].role == "system"
        system = messages[0].content if has_system else ""
        if conversation.tools:
            system += "\n\n" if has_system else ""
            tools = "".join(
                f"\n{marshal(tool_json(tool), spaced=True)}" for tool in conversation.tools
            )
            return f"<|im_start|>system\n{system}{_TOOLS_HEAD}{tools}{_TOOLS_TAIL}"
        return f"<|im_start|>system\n{system}<|im_end|>\n" if has_system else ""

    def _turn(
        self, messages: list[Message], at: int, text: str, thinks: bool, is_current: bool
    ) -> str:
        message = messages[at]
        match message.role:
            case "user":
                return f"<|im_start|>user\n{text}<|im_end|>\n"
            case "system" if at > 0:
                return f"<|im_start|>system\n{text}<|im_end|>\n"
            case "assistant":
                body = _answer(message, text, thinks and is_current, at == len(messages) - 1)
                end = "" if is_prefill(messages, at) else "<|im_end|>\n"
                return f"<|im_start|>assistant\n{body}{_calls(message, text)}{end}"
            case "tool":
                return tool_result(messages, at, text)
            case _:
                return ""


def _answer(message: Message, text: str, shows_thinking: bool, is_last: bool) -> str:
    if not shows_thinking or not (is_last or message.thinking):
        return text
    thinking = message.thinking.strip("\n")
    closed = f"\n</think>\n\n{text.lstrip(chr(10))}" if text else ""
    return f"<think>\n{thinking}{closed}"


def _calls(message: Message, text: str) -> str:
    calls = [
        f'<tool_call>\n{{"name": "{call.function.name}", "arguments": '
        f"{marshal(arguments_json(call), spaced=True)}}}\n</tool_call>"
        for call in message.tool_calls
    ]
    joined = "\n".join(calls)
    return f"\n{joined}" if joined and text else joined


def _opening(messages: list[Message], thinks: bool) -> str:
    if not messages or is_prefill(messages, len(messages) - 1):
        return ""
    return "<|im_start|>assistant\n" + ("<think>\n" if thinks else "")
