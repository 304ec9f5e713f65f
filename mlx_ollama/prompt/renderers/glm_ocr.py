"""GLM-OCR: GLM's turns on lines of their own, with images; `/nothink` switches thinking off."""

from dataclasses import dataclass

from mlx_ollama.api.messages import Message
from mlx_ollama.prompt.conversation import Conversation
from mlx_ollama.prompt.renderers.glm47 import call_text, tool_list
from mlx_ollama.prompt.renderers.history import first_of_results, is_on, trim
from mlx_ollama.prompt.renderers.images import ImageMarks


@dataclass(frozen=True)
class GlmOcr:
    image_tags: bool = True
    leading_bos = ""

    def render(self, conversation: Conversation) -> str:
        messages = conversation.messages
        marks = ImageMarks(self.image_tags)
        is_off = not is_on(conversation.think, default=True)
        turns = [_turn(messages, at, marks, is_off) for at in range(len(messages))]
        opening = "<|assistant|>\n" + ("<think></think>\n" if is_off else "")
        return "[gMASK]<sop>" + tool_list(conversation.tools) + "".join(turns) + opening


def _turn(messages: list[Message], at: int, marks: ImageMarks, is_off: bool) -> str:
    message = messages[at]
    match message.role:
        case "user":
            switch = "/nothink" if is_off and not message.content.endswith("/nothink") else ""
            return f"<|user|>\n{marks.text(message)}{switch}"
        case "assistant":
            return f"<|assistant|>\n{_answer(message)}\n"
        case "tool":
            start = "<|observation|>" if first_of_results(messages, at) else ""
            return f"{start}\n<tool_response>\n{marks.text(message)}\n</tool_response>\n"
        case "system":
            return f"<|system|>\n{message.content}\n"
        case _:
            return ""


def _answer(message: Message) -> str:
    content = f"\n{trim(message.content)}" if message.content else ""
    calls = "".join(f"\n{call_text(call)}" for call in message.tool_calls)
    return f"<think>{trim(message.thinking)}</think>{content}{calls}"
