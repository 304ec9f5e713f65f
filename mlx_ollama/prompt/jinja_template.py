"""Chat templates of Hugging Face: what transformers' apply_chat_template gives, sandboxed and bounded."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from mlx_ollama.api.messages import Message
from mlx_ollama.prompt.chat_order import other_orders, system_in_question
from mlx_ollama.prompt.chat_variables import chat_messages, chat_tools, think_variables
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.jinja_budget import with_budget
from mlx_ollama.prompt.jinja_sandbox import BoundedEnvironment, new_environment

MAX_SOURCE = 1 << 20  # characters
MAX_TOKENS = 50_000  # of Jinja's lexer; the largest real template has about 5,000
MAX_DATE_FORMAT = 256
PROBE_SHARE = 0.02  # of a rendering's budget, to see what a template does with one message
_CONTINUES_HERE = "\ue000continues-here\ue001 "  # after the text of an answer that is to go on


class _Generation(Extension):
    """`{% generation %}`: transformers marks the model's own text with it; here it is its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Python's spelling of JSON, not escaped for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


class _Raised(jinja2.TemplateError):
    """The template's own `raise_exception`."""


class _Refusal(TemplateError):
    """What a template says of messages it does not take."""


def _raise_exception(message: Any) -> None:
    raise _Raised(str(message))


def _environment() -> BoundedEnvironment:
    return new_environment(
        {"tojson": _to_json},
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_Generation, loopcontrols],
    )


def _check_source(environment: BoundedEnvironment, source: str) -> None:
    """Its size, before Jinja's parser and Python's compiler see it."""
    if len(source) > MAX_SOURCE:
        raise TemplateError(f"template is longer than {MAX_SOURCE} characters")
    for number, _ in enumerate(environment.lexer.tokeniter(source, None)):
        if number > MAX_TOKENS:
            raise TemplateError(f"template has more than {MAX_TOKENS} tokens")


class JinjaTemplate:
    """A compiled chat template.

    `source` is the template, or templates by name (`default`, `tool_use`, `rag`), as tokenizer_config.json has
    them. `tokens` are the special tokens that templates name besides (`pad_token`, `unk_token` …).
    Raises TemplateError where it is not a template.
    """

    def __init__(
        self,
        source: str | dict[str, str],
        *,
        bos_token: str = "",
        eos_token: str = "",
        tokens: dict[str, str] | None = None,
    ) -> None:
        self._sources = {"default": source} if isinstance(source, str) else dict(source)
        if not self._sources:
            raise TemplateError("no chat template")
        named = {"bos_token": bos_token, "eos_token": eos_token}
        self._tokens = (tokens or {}) | {name: text for name, text in named.items() if text}
        environment = _environment()
        self._templates = {
            name: _compile(environment, text) for name, text in self._sources.items()
        }

    @cached_property
    def text(self) -> str:
        """All sources."""
        return "\n".join(self._sources.values())

    @cached_property
    def capabilities(self) -> list[str]:
        """`tools` and `thinking`, where the template speaks of them (contract 6.2)."""
        found = {
            "tools": "tools" in self.text or "tool_call" in self.text,
            "thinking": "<think>" in self.text and "</think>" in self.text,
        }
        return [name for name, is_there in found.items() if is_there]

    @cached_property
    def takes_parts(self) -> bool:
        """Whether a message's content must be a list of parts: a plain string does not come out."""
        probe = "does this text come out"
        as_text = {"role": "user", "content": probe}
        as_parts = {"role": "user", "content": [{"type": "text", "text": probe}]}
        return not self._shows(as_text, probe) and self._shows(as_parts, probe)

    def _shows(self, message: dict[str, Any], text: str) -> bool:
        """Whether the text comes out, and not only as part of its list's own printing."""
        values = {"messages": [message], "add_generation_prompt": True}
        try:
            shown = self._run(values, None, PROBE_SHARE)
        except TemplateError:
            return False
        return text in shown and f"'{text}'" not in shown

    @cached_property
    def takes_system(self) -> bool:
        """Whether system text comes out; where it does not, it is put into the first question."""
        probe = "does this text come out"
        messages = [Message(role="system", content=probe), Message(role="user", content="x")]
        values = {"messages": chat_messages(messages, in_parts=self.takes_parts)}
        try:
            return probe in self._run(values | {"add_generation_prompt": True}, None, PROBE_SHARE)
        except TemplateError:
            return False

    def render(self, conversation: Conversation, **variables: Any) -> str:
        """The prompt, open for the answer; a last message of the assistant is left to be continued.

        `variables` are the template's own besides (`documents`, …). An order of messages that the template
        refuses is changed (`chat_order`). Raises TemplateError.
        """
        values = think_variables(conversation.think, self.text) | variables
        values["tools"] = chat_tools(conversation.tools)
        messages = conversation.messages
        if any(message.role == "system" for message in messages) and not self.takes_system:
            messages = system_in_question(messages)
        try:
            return self._rendered(messages, values, conversation.now)
        except _Refusal as refusal:
            for order in other_orders(messages):
                with suppress(_Refusal):
                    return self._rendered(order, values, conversation.now)
            raise TemplateError(str(refusal)) from None

    def _rendered(
        self, messages: list[Message], values: dict[str, Any], now: datetime | None
    ) -> str:
        values = values | {"messages": chat_messages(messages, in_parts=self.takes_parts)}
        last = messages[-1] if messages else None
        if last and last.role == "assistant" and last.content and not last.tool_calls:
            return self._continued(values, now)
        return self._run(values | {"add_generation_prompt": True}, now)

    def _continued(self, values: dict[str, Any], now: datetime | None) -> str:
        """Rendered with a mark behind the last content, and cut there."""
        *before, last = values["messages"]
        marked = _marked(last)
        text = self._run(
            values | {"messages": [*before, marked], "add_generation_prompt": False}, now
        )
        head, found, tail = text.rpartition(_CONTINUES_HERE.strip())
        if not found:
            opened = self._run(values | {"messages": before, "add_generation_prompt": True}, now)
            return opened + _content_text(last)
        return head if tail.startswith(" ") else head.rstrip()

    def _run(self, values: dict[str, Any], now: datetime | None, share: float = 1) -> str:
        template = self._choose(values)
        moment = now or datetime.now().astimezone()
        known: dict[str, Any] = {
            "tools": None,
            "documents": None,
            "raise_exception": _raise_exception,
            "strftime_now": lambda form: moment.strftime(str(form)[:MAX_DATE_FORMAT]),
        }
        try:
            return with_budget(lambda: template.render(known | self._tokens | values), share)
        except _Raised as error:
            raise _Refusal(str(error)) from None
        except Exception as error:  # noqa: BLE001 - a template may raise anything
            raise TemplateError(_reason(error)) from None

    def _choose(self, values: dict[str, Any]) -> jinja2.Template:
        wanted = ["default", *self._templates]
        if values.get("documents"):
            wanted.insert(0, "rag")
        if values.get("tools"):
            wanted.insert(0, "tool_use")
        return next(self._templates[name] for name in wanted if name in self._templates)


def _compile(environment: BoundedEnvironment, source: str) -> jinja2.Template:
    try:
        _check_source(environment, source)
        return environment.from_string(source)
    except TemplateError:
        raise
    except Exception as error:  # noqa: BLE001 - Python's compiler has errors of many kinds
        raise TemplateError(_reason(error)) from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "template is nested too deeply"
    if isinstance(error, MemoryError):
        return "template needs too much memory"
    return str(error) or type(error).__name__


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    if isinstance(content, str):
        return message | {"content": content + _CONTINUES_HERE}
    parts = [*content[:-1], content[-1] | {"text": content[-1].get("text", "") + _CONTINUES_HERE}]
    return message | {"content": parts}


def _content_text(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
