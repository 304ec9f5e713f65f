"""How a model is spoken to and how its answers are read.

Prompt source, the first that is there: the request's template, the config's renderer, the TEMPLATE layer, the
model's own chat template, the family's fallback. Answers: the config's parser, else what the template implies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlx_ollama.api.messages import Message, Think, Tool
from mlx_ollama.ipc.messages import Prompting
from mlx_ollama.parsers.output import pick_parser
from mlx_ollama.parsers.parser import OutputParser
from mlx_ollama.prompt.conversation import Conversation, Renderer


class _Plain:
    """What is left where a model brings no format at all: the texts, a blank line between them."""

    def render(self, conversation: Conversation) -> str:
        texts = [message.content for message in conversation.messages]
        return "\n\n".join(texts) if texts else conversation.prompt


@dataclass(kw_only=True)
class Speech:
    """One request's format: what renders its messages and what parses the answer."""

    renderer: Renderer
    parser_name: str = ""
    tools: Sequence[Tool] = ()
    think: Think = None
    last_message: Message | None = None

    def render(self, conversation: Conversation) -> str:
        return self.renderer.render(conversation)

    def render_messages(self, messages: list[Message]) -> str:
        """The prompt of a conversation's messages."""
        return self.render(
            Conversation(
                messages=messages,
                tools=list(self.tools),
                think=self.think,
                now=datetime.now().astimezone(),
            )
        )

    def parser(self, prompt: str) -> OutputParser:
        """A new parser for one answer to `prompt`."""
        return pick_parser(
            self.parser_name,
            tools=self.tools,
            last_message=self.last_message,
            think=self.think,
            prompt=prompt,
        )

    def reads(self, token: str) -> bool:
        """Whether a control token is part of what the parser reads."""
        return bool(self.parser_name)


class Prompter:
    """One model's formats."""

    def __init__(self, prompting: Prompting, chat_template: str) -> None:
        self._prompting, self._chat_template = prompting, chat_template

    def speech(
        self, template: str = "", *, tools: Sequence[Tool] = (), think: Think = None
    ) -> Speech:
        """The format of one request. Raises TemplateError."""
        return Speech(renderer=_Plain(), tools=tools, think=think)
