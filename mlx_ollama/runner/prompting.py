"""How a model is spoken to and how its answers are read.

Prompt source, the first that is there: the request's template, the config's renderer, the TEMPLATE layer, the
model's own chat template, the family's fallback. Answers: the config's parser, else what the template implies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec.structs import replace

from mlx_ollama.api.messages import Message, Think, Tool
from mlx_ollama.ipc.messages import Prompting
from mlx_ollama.parsers.output import (
    AnswerFormat,
    infer,
    parser_info,
    pick_parser,
    tools_for_prompt,
)
from mlx_ollama.parsers.parser import OutputParser
from mlx_ollama.prompt.conversation import Conversation, Renderer
from mlx_ollama.prompt.go_template import GoTemplate

IMAGE_MARK = "[img]"


class Plain:
    """What is left where a model brings no format at all: the texts, a blank line between them."""

    def render(self, conversation: Conversation) -> str:
        texts = [message.content for message in conversation.messages]
        return "\n\n".join(texts) if texts else conversation.prompt


@dataclass(kw_only=True)
class Speech:
    """One request's format: what renders its messages and what parses the answer.

    `tags` are the parser's arguments that a template implies; `marks_images`: images become `[img-N]` here,
    since the renderer has no mark of its own.
    """

    renderer: Renderer
    parser_name: str = ""
    answer: AnswerFormat = field(default_factory=AnswerFormat)
    tool_tag: str = ""
    tools: Sequence[Tool] = ()
    think: Think = None
    marks_images: bool = False

    def render(self, conversation: Conversation) -> str:
        """The prompt; raises TemplateError."""
        return self.renderer.render(conversation)

    def render_messages(self, messages: list[Message]) -> str:
        """The prompt of a conversation's messages; raises TemplateError."""
        return self.render(
            Conversation(
                messages=with_image_marks(messages) if self.marks_images else messages,
                tools=tools_for_prompt(self.parser_name, self.tools),
                think=self.think,
                now=datetime.now().astimezone(),
            )
        )

    def parser(self, prompt: str, last_message: Message | None) -> OutputParser:
        """A new parser for one answer to `prompt`."""
        return pick_parser(
            self.parser_name,
            tools=self.tools,
            last_message=last_message,
            think=self.think,
            thinking_tags=self.answer.thinking_tags,
            tool_tag=self.tool_tag,
            tool_format=self.answer.tool_format,
            prompt=prompt,
        )

    def reads(self, token: str) -> bool:
        """Whether a control token is part of what the parser reads."""
        info = parser_info(self.parser_name) if self.parser_name else None
        tags = (*(self.answer.thinking_tags or ()), self.tool_tag if self.tools else "")
        return token in (info.preserved_tokens if info else ()) or any(token in tag for tag in tags)


def with_image_marks(messages: Sequence[Message]) -> list[Message]:
    """`[img-N]` for each image, in place of the first `[img]` of its message or in front (internals A.4)."""
    count, marked = 0, list[Message]()
    for message in messages:
        content, front = message.content, ""
        for _ in message.images:
            mark = f"[img-{count}]"
            if IMAGE_MARK in content:
                content = content.replace(IMAGE_MARK, mark, 1)
            else:
                front += mark
            count += 1
        marked.append(replace(message, content=front + content) if message.images else message)
    return marked


class Prompter:
    """One model's formats. Whatever of it cannot be parsed is an error of the requests that need it."""

    def __init__(
        self, prompting: Prompting, chat_template: str, vocabulary: frozenset[str] = frozenset()
    ) -> None:
        self._prompting, self._chat_template = prompting, chat_template
        self._vocabulary = vocabulary

    def speech(
        self, template: str = "", *, tools: Sequence[Tool] = (), think: Think = None
    ) -> Speech:
        """The format of one request. Raises TemplateError."""
        source = template or self._prompting.template
        if source:
            return self._of_go(GoTemplate.parse(source), tools, think)
        return Speech(renderer=Plain(), tools=tools, think=think)

    def _of_go(self, template: GoTemplate, tools: Sequence[Tool], think: Think) -> Speech:
        tags = template.thinking_tags
        return Speech(
            renderer=template,
            parser_name=self._prompting.parser,
            answer=AnswerFormat(thinking_tags=tags if all(tags) else None),
            tool_tag=template.tool_tag,
            tools=tools,
            think=think,
            marks_images=True,
        )


_ = infer
