"""Gemma 4: turns and channels in tags; results of tools are part of the model's turn. Thinks when asked to."""

from dataclasses import dataclass

from mlx_ollama.api.messages import Message, ToolCall
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.renderers.gemma4_schema import QUOTE, declaration
from mlx_ollama.prompt.renderers.history import is_on, last_index, split_system, trim
from mlx_ollama.prompt.renderers.images import ImageMarks
from mlx_ollama.prompt.renderers.values import braced, sorted_arguments


@dataclass(frozen=True)
class Gemma4:
    """`empties_thought`: where it is not to think, an empty thought says so (the large models)."""

    empties_thought: bool = False
    image_tags: bool = True
    leading_bos = "<bos>"

    def render(self, conversation: Conversation) -> str:
        system, messages = split_system(conversation, ("system", "developer"))
        thinks = is_on(conversation.think, default=False)
        walk = _Walk(messages, ImageMarks(self.image_tags))
        turns = [walk.turn(at) for at in range(len(messages)) if messages[at].role != "tool"]
        return (
            "<bos>"
            + _system(system, conversation, thinks)
            + "".join(turns)
            + self._opening(walk.ended_in, thinks)
        )

    def _opening(self, ended_in: str, thinks: bool) -> str:
        if ended_in == "call":
            return ""
        if ended_in == "response":
            return "<|channel>thought\n" if thinks else ""
        empty = "<|channel>thought\n<channel|>" if self.empties_thought and not thinks else ""
        return f"<|turn>model\n{empty}"


def _system(system: str | None, conversation: Conversation, thinks: bool) -> str:
    if system is None and not conversation.tools and not thinks:
        return ""
    think = "<|think|>\n" if thinks else ""
    tools = "".join(map(declaration, conversation.tools))
    return f"<|turn>system\n{think}{trim(system or '')}{tools}<turn|>\n"


class _Walk:
    """`ended_in`: whether the last turn ended in a call or in a tool's response."""

    def __init__(self, messages: list[Message], marks: ImageMarks) -> None:
        self._messages = messages
        self._marks = marks
        self._last_user = last_index(messages, "user")
        self.ended_in = ""

    def turn(self, at: int) -> str:
        message = self._messages[at]
        is_model = message.role == "assistant"
        role = "model" if is_model else message.role
        continues = is_model and self._role_before(at) == "assistant"
        text = "" if continues else f"<|turn>{role}\n"
        if is_model and message.thinking and at > self._last_user:
            text += f"<|channel>thought\n{message.thinking}\n<channel|>"
        text += "".join(map(_call, message.tool_calls))
        responses = self._responses(at) if message.tool_calls else ""
        self.ended_in = "response" if responses else "call" if message.tool_calls else ""
        content, has_content = self._content(message, is_model)
        return text + responses + content + self._end(at, is_model, has_content)

    def _role_before(self, at: int) -> str:
        roles = [message.role for message in self._messages[:at] if message.role != "tool"]
        return roles[-1] if roles else ""

    def _role_after(self, at: int) -> str:
        roles = [message.role for message in self._messages[at + 1 :] if message.role != "tool"]
        return roles[0] if roles else ""

    def _content(self, message: Message, is_model: bool) -> tuple[str, bool]:
        """The text, and whether it or an image is there at all."""
        kept = _without_thoughts(message.content) if is_model else trim(message.content)
        if is_model and not message.content and not message.images:
            return "", False
        return self._marks.text(message, kept), bool(trim(kept) or message.images)

    def _end(self, at: int, is_model: bool, has_content: bool) -> str:
        following = self._role_after(at)
        if self.ended_in == "call":
            return "<|tool_response>"
        if is_model and following == "assistant":
            return ""
        if self.ended_in == "response" and not has_content and not following:
            return ""
        return "<turn|>\n"

    def _responses(self, at: int) -> str:
        """The tools' answers that stand right behind the calls."""
        calls = self._messages[at].tool_calls
        text = ""
        for message in self._messages[at + 1 :]:
            if message.role != "tool":
                break
            name = _result_name(message, calls)
            value = braced(self._marks.text(message), QUOTE, "null")
            text += f"<|tool_response>response:{name}{{value:{value}}}<tool_response|>"
        return text


def _without_thoughts(text: str) -> str:
    """Without its `<|channel>…<channel|>` parts; one that does not end takes the rest with it."""
    kept = ""
    while "<|channel>" in text:
        before, _, rest = text.partition("<|channel>")
        kept += before
        text = rest.partition("<channel|>")[2]
    return trim(kept + text)


def _result_name(message: Message, calls: list[ToolCall]) -> str:
    if message.tool_call_id:
        for call in calls:
            if call.id == message.tool_call_id:
                return call.function.name
    return message.tool_name or "unknown"


def _call(call: ToolCall) -> str:
    entries = ",".join(
        f"{name}:{braced(value, QUOTE, 'null')}" for name, value in sorted_arguments(call)
    )
    return f"<|tool_call>call:{call.function.name}{{{entries}}}<tool_call|>"
