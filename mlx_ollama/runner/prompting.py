"""How a model is spoken to and how its answers are read.

Prompt source, the first that is there: the request's template, the config's renderer, the TEMPLATE layer, the
model's own chat template, the family's fallback. Answers: the config's parser, else what the template implies.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import msgspec
from msgspec.structs import replace

from mlx_ollama.api.messages import Message, Think, Tool
from mlx_ollama.errors import InvalidRequest
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
from mlx_ollama.prompt.fallbacks import fallback
from mlx_ollama.prompt.go_template import GoTemplate
from mlx_ollama.prompt.jinja_template import JinjaTemplate
from mlx_ollama.prompt.renderers import renderer
from mlx_ollama.runner.infill import infill_format

IMAGE_MARK = "[img]"
MAX_OTHERS = 32  # models on the same weights whose formats are kept
GPT_OSS = ("gptoss", "gpt-oss")


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
        if info and token in info.preserved_tokens:
            return True
        tags = (*self.answer.tokens, *(self.answer.thinking_tags or ()))
        return any(token in tag for tag in (*tags, self.tool_tag if self.tools else ""))


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
    """One model's formats. What of it cannot be parsed is an error of the requests that need it.

    `chat_template` is a Jinja template, or several as tokenizer_config.json names them; `tokens` are the special
    tokens that templates name (`bos_token` …); `vocabulary` the texts of the added tokens.
    """

    def __init__(
        self,
        prompting: Prompting,
        chat_template: Any = "",
        tokens: dict[str, str] | None = None,
        vocabulary: frozenset[str] = frozenset(),
    ) -> None:
        self._prompting, self._tokens = prompting, tokens or {}
        self._sources = _named_templates(chat_template)
        self._vocabulary = vocabulary
        self._others: dict[bytes, Prompter] = {}

    def of(self, prompting: Prompting | None) -> "Prompter":
        """The formats of another model with the same weights and tokenizer; None is this one."""
        if prompting is None or prompting == self._prompting:
            return self
        key = msgspec.msgpack.encode(prompting)
        if key not in self._others and len(self._others) >= MAX_OTHERS:
            self._others.clear()
        return self._others.setdefault(
            key, Prompter(prompting, self._sources, self._tokens, self._vocabulary)
        )

    def speech(
        self, template: str = "", *, tools: Sequence[Tool] = (), think: Think = None
    ) -> Speech:
        """The format of one request. Raises TemplateError."""
        speech = self._of_go(template) if template else self._own
        return dataclasses.replace(speech, tools=tools, think=think)

    def infill(self, template: str = "", *, think: Think = None) -> Speech:
        """The format of a prompt with a suffix: a template that has a place for it, or the vocabulary's marks.

        Raises TemplateError, and InvalidRequest where there is neither.
        """
        speech = self._of_go(template) if template else self._own
        if isinstance(speech.renderer, GoTemplate) and "insert" in speech.renderer.capabilities:
            return dataclasses.replace(speech, think=think)
        marks = infill_format(self._vocabulary)
        if marks is None:
            raise InvalidRequest("this model does not support insert")
        return Speech(renderer=marks)

    @cached_property
    def _own(self) -> Speech:
        name = self._prompting.parser
        if name and parser_info(name) is None:
            raise InvalidRequest(f'unknown parser "{name}"')
        if self._prompting.renderer:
            return self._of_builtin(self._prompting.renderer)
        if self._prompting.template:
            return self._of_go(self._prompting.template)
        if self._sources:
            return self._of_jinja(self._sources)
        return Speech(
            renderer=fallback(self._vocabulary),
            parser_name=self._prompting.parser,
            answer=infer("", self._vocabulary),
            marks_images=True,
        )

    def _of_builtin(self, name: str) -> Speech:
        """Built-in formats mark images themselves."""
        return Speech(renderer=renderer(name), parser_name=self._prompting.parser)

    def _of_go(self, source: str) -> Speech:
        template = GoTemplate.parse(source)
        tags = template.thinking_tags
        return Speech(
            renderer=template,
            parser_name=self._prompting.parser or self._implied_parser(source),
            answer=AnswerFormat(thinking_tags=tags if all(tags) else None),
            tool_tag=template.tool_tag,
            marks_images=True,
        )

    def _implied_parser(self, source: str) -> str:
        """gpt-oss speaks harmony through an ordinary template (internals 5.1)."""
        speaks_harmony = "<|start|>" in source and "<|end|>" in source
        return "harmony" if self._prompting.family in GPT_OSS and speaks_harmony else ""

    def _of_jinja(self, sources: dict[str, str]) -> Speech:
        known = {
            name: text
            for name, text in self._tokens.items()
            if name not in ("bos_token", "eos_token")
        }
        template = JinjaTemplate(
            sources,
            bos_token=self._tokens.get("bos_token", ""),
            eos_token=self._tokens.get("eos_token", ""),
            tokens=known,
        )
        answer = infer("\n".join(sources.values()), self._vocabulary)
        return Speech(
            renderer=template,
            parser_name=self._prompting.parser or answer.name,
            answer=answer,
            marks_images=True,
        )


def _named_templates(chat_template: Any) -> dict[str, str]:
    """Templates by name from a text, a mapping, or transformers' list of names and templates."""
    if isinstance(chat_template, str):
        return {"default": chat_template} if chat_template else {}
    if isinstance(chat_template, list):
        pairs = [entry for entry in chat_template if isinstance(entry, dict)]
        chat_template = {entry.get("name"): entry.get("template") for entry in pairs}
    if not isinstance(chat_template, dict):
        return {}
    return {
        name: text
        for name, text in chat_template.items()
        if isinstance(name, str) and isinstance(text, str)
    }
