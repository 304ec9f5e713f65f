"""Chat templates of 25 models on 40 conversations: what transformers' apply_chat_template gives."""

import json
import lzma
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlx_ollama.api.messages import Message
from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.jinja_template import JinjaTemplate
from tests.conftest import DATA
from tests.golden.gotemplate import tools_of

FOLDER = DATA / "prompt"
TEMPLATES = sorted(path.stem for path in (FOLDER / "chat_templates").glob("*.jinja"))
# The API allows these, so where a template refuses them the messages are put in another order (`chat_order`).
REORDERED = {"two_users": "first\n\nsecond", "only_system": "Only a system text."}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@cache
def conversations() -> dict[str, Any]:
    return json.loads((FOLDER / "conversations.json").read_text("utf-8"))


@cache
def expected() -> dict[str, Any]:
    packed = Path(FOLDER / "chat_templates.expected.json.xz").read_bytes()
    return json.loads(lzma.decompress(packed))


def api_message(message: dict[str, Any]) -> Message:
    """A message in transformers' words as the API has it."""
    renamed = {"name": "tool_name", "reasoning_content": "thinking"}
    return msgspec.convert(
        {renamed.get(key, key): value for key, value in message.items()}, Message
    )


def conversation(name: str) -> Conversation:
    case = conversations()[name]
    return Conversation(
        messages=[api_message(message) for message in case["messages"]],
        tools=tools_of(case.get("tools")),
        think=case.get("think"),
        now=NOW,
    )


def rendered(template: JinjaTemplate, name: str) -> Any:
    try:
        return template.render(conversation(name))
    except TemplateError as error:
        return {"error": str(error)}


@pytest.mark.parametrize("model", TEMPLATES)
def test_a_models_template_gives_what_transformers_gives(model: str) -> None:
    source = (FOLDER / "chat_templates" / f"{model}.jinja").read_text("utf-8")
    template = JinjaTemplate(source, bos_token="<s>", eos_token="</s>")
    different = {
        name: (got, want)
        for name, want in expected()[model].items()
        if (got := rendered(template, name)) != want and not is_reordered(name, got, want)
    }
    assert different == {}


def is_reordered(name: str, got: Any, want: Any) -> bool:
    return "error" in want and name in REORDERED and REORDERED[name] in got


def test_there_are_25_templates_and_40_conversations() -> None:
    assert len(TEMPLATES) == 25
    assert all(len(results) == 40 for results in expected().values())
