"""Qwen3.5 and what grew from it: Ornith (thinking kept in all turns) and Qwen3.8 (efforts, one system turn)."""

from dataclasses import dataclass

from msgspec.structs import replace

from mlx_ollama.api.messages import Message, Think
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.go_json import marshal, tool_json
from mlx_ollama.prompt.renderers.history import is_on, is_prefill, trim
from mlx_ollama.prompt.renderers.images import ImageMarks
from mlx_ollama.prompt.renderers.qwen3_coder import CALL_INSTRUCTIONS, tool_result
from mlx_ollama.prompt.renderers.qwen3_vl import VISION_MARK, last_query
from mlx_ollama.prompt.renderers.values import arguments, plain_text

_HIGH = (
    "Reasoning effort is set to xhigh. Please think carefully through the task, validate key assumptions, "
    "consider plausible alternatives, and prioritize correctness, consistency, and clarity in the final answer."
)
_LOW = (
    "Reasoning effort is set to low. Keep your thinking brief and focused, moving directly to the conclusion "
    "without unnecessary elaboration."
)
_EFFORTS = {None: _HIGH, "high": _HIGH, "max": _HIGH, "low": _LOW}


@dataclass(frozen=True)
class Qwen35:
    """`keeps_thinking`: every answer has its thinking, not only those after the last question."""

    keeps_thinking: bool = False
    image_tags: bool = True
    leading_bos = ""

    def render(self, conversation: Conversation) -> str:
        messages = self._messages(conversation.messages)
        marks = ImageMarks(self.image_tags, VISION_MARK)
        texts = [trim(marks.text(message)) for message in messages]
        thinks = is_on(conversation.think, default=True)
        query = last_query(messages, texts)
        turns = [
            self._turn(messages, at, texts[at], self.keeps_thinking or (thinks and at > query))
            for at in range(len(messages))
        ]
        return self._system(conversation, messages) + "".join(turns) + _opening(messages, thinks)

    def _messages(self, messages: list[Message]) -> list[Message]:
        return messages

    def _effort(self, think: Think) -> str:
        return ""

    def _system(self, conversation: Conversation, messages: list[Message]) -> str:
        has_system = bool(messages) and messages[0].role == "system"
        system = (
            trim(ImageMarks(self.image_tags, VISION_MARK).text(messages[0])) if has_system else ""
        )
        effort = self._effort(conversation.think)
        if conversation.tools:
            parts = [effort, _tools(conversation), system]
        else:
            parts = [effort, system]
        if not any(parts) and not (has_system and self._keeps_empty_system()):
            return ""
        text = "\n\n".join(filter(None, parts))
        return f"<|im_start|>system\n{text}<|im_end|>\n"

    def _keeps_empty_system(self) -> bool:
        return True

    def _turn(self, messages: list[Message], at: int, text: str, shows_thinking: bool) -> str:
        message = messages[at]
        match message.role:
            case "user":
                return f"<|im_start|>user\n{text}<|im_end|>\n"
            case "system":
                return f"<|im_start|>system\n{text}<|im_end|>\n" if at > 0 else ""
            case "assistant":
                end = "" if is_prefill(messages, at) else "<|im_end|>\n"
                return f"<|im_start|>assistant\n{self._answer(message, text, shows_thinking)}{end}"
            case "tool":
                return tool_result(messages, at, text)
            case role:
                return self._other(role, text)

    def _other(self, role: str, text: str) -> str:
        return ""

    def _answer(self, message: Message, text: str, shows_thinking: bool) -> str:
        thinking, content = self._split(message, text, shows_thinking)
        block = f"<think>\n{thinking}\n</think>\n\n" if shows_thinking else ""
        return block + content + _calls(message, content)

    def _split(self, message: Message, text: str, shows_thinking: bool) -> tuple[str, str]:
        """Thinking and content, also where the content has them both in one."""
        if shows_thinking and message.thinking:
            return trim(message.thinking), text
        before, closed, after = text.partition("</think>")
        if not closed:
            return "", text
        return trim(before.rpartition("<think>")[2]), after.lstrip("\n")


class Qwen38(Qwen35):
    """One leading system turn that holds all instructions; the effort is written into it."""

    def _messages(self, messages: list[Message]) -> list[Message]:
        folded = _folded(messages)
        if not folded:
            raise TemplateError("no messages provided")
        if folded[0].role == "system" and folded[0].images:
            raise TemplateError("system message cannot contain images")
        texts = [trim(ImageMarks(self.image_tags, VISION_MARK).text(m)) for m in folded]
        if _only_answers(folded, texts):
            raise TemplateError("no user query found in messages")
        return folded

    def _effort(self, think: Think) -> str:
        return "" if isinstance(think, bool) else _EFFORTS.get(think, "")

    def _keeps_empty_system(self) -> bool:
        return False

    def _other(self, role: str, text: str) -> str:
        return f"<|im_start|>{role}\n{text}<|im_end|>\n"

    def _split(self, message: Message, text: str, shows_thinking: bool) -> tuple[str, str]:
        return trim(message.thinking) if shows_thinking else "", text


def _only_answers(messages: list[Message], texts: list[str]) -> bool:
    return not any(
        message.role == "user"
        and not (text.startswith("<tool_response>") and text.endswith("</tool_response>"))
        for message, text in zip(messages, texts, strict=True)
    )


def _folded(messages: list[Message]) -> list[Message]:
    """All instructions as one system message in front, in their order."""
    instructions = [m for m in messages if m.role in ("system", "developer")]
    for message in instructions:
        if message.images:
            raise TemplateError(f"{message.role} message cannot contain images")
    if not instructions or (len(instructions) == 1 and messages[0].role == "system"):
        return messages
    texts = filter(None, (trim(message.content) for message in instructions))
    system = replace(instructions[0], role="system", content="\n\n".join(texts))
    return [system, *(m for m in messages if m.role not in ("system", "developer"))]


def _tools(conversation: Conversation) -> str:
    tools = "".join(f"\n{marshal(tool_json(tool), spaced=True)}" for tool in conversation.tools)
    return (
        "# Tools\n\nYou have access to the following functions:\n\n"
        f"<tools>{tools}\n</tools>{CALL_INSTRUCTIONS}"
    )


def _calls(message: Message, content: str) -> str:
    calls = [
        f"<tool_call>\n<function={call.function.name}>\n"
        + "".join(
            f"<parameter={name}>\n{plain_text(value)}\n</parameter>\n"
            for name, value in arguments(call)
        )
        + "</function>\n</tool_call>"
        for call in message.tool_calls
    ]
    joined = "\n".join(calls)
    return f"\n\n{joined}" if joined and trim(content) else joined


def _opening(messages: list[Message], thinks: bool) -> str:
    if not messages or is_prefill(messages, len(messages) - 1):
        return ""
    return "<|im_start|>assistant\n<think>\n" + ("" if thinks else "\n</think>\n\n")
