"""The messages of a request with those of its model (contract 8.4, 9.4)."""

from pathlib import Path
from typing import Any

import pytest

from mlx_ollama.api.messages import Message, Tool
from mlx_ollama.api.ollama import GenerateRequest
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.inference.conversation import (
    MAX_IMAGES,
    MAX_MESSAGES,
    MAX_TOOLS,
    chat_messages,
    check_sizes,
    generate_messages,
)
from mlx_ollama.store.model import Model
from mlx_ollama.store.store import Store
from tests.fakes.site import add_model

HISTORY = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def _model(store: Store, name: str = "m", **facts: Any) -> Model:
    add_model(store, name, **facts)
    return store.resolve(name)


def _texts(messages: list[Message]) -> list[str]:
    return [f"{message.role}: {message.content}" for message in messages]


def _user(text: str = "hi") -> Message:
    return Message(role="User", content=text)


def test_the_model_s_messages_come_first_and_its_system_prompt_before_them(store: Store) -> None:
    model = _model(store, system="be", messages=HISTORY)
    assert _texts(chat_messages(model, [_user()])) == [
        "system: be", "user: a", "assistant: b", "user: hi",
    ]  # fmt: skip


def test_a_system_message_in_front_takes_the_place_of_the_model_s(store: Store) -> None:
    model = _model(store, system="be")
    own = Message(role="system", content="do")
    assert _texts(chat_messages(model, [own, _user()])) == ["system: do", "user: hi"]
    late = chat_messages(model, [_user(), own])
    assert _texts(late) == ["system: be", "user: hi", "system: do"]


@pytest.mark.parametrize(("family", "kept"), [("qwen3", "b"), ("llama", "<think>x</think>\n\nb")])
def test_old_thinking_is_forgotten_where_templates_leave_it_to_the_server(
    store: Store, family: str, kept: str
) -> None:
    model = _model(store, model_family=family)
    thought = Message(role="assistant", content="<think>x</think>\n\nb")
    messages = chat_messages(model, [_user(), thought, _user(), thought])
    assert messages[1].content == kept
    assert messages[3].content == thought.content


def test_a_bare_prompt_is_a_conversation_of_one_turn(store: Store) -> None:
    model = _model(store, system="be", messages=HISTORY)
    request = GenerateRequest(model="m", prompt="hi", images=[b"i"])
    messages = generate_messages(model, request)
    assert _texts(messages) == ["system: be", "user: a", "assistant: b", "user: hi"]
    assert messages[-1].images == [b"i"]


def test_context_leaves_out_the_model_s_messages_even_when_empty(store: Store) -> None:
    model = _model(store, system="be", messages=HISTORY)
    request = GenerateRequest(model="m", prompt="hi", context=[], system="do")
    assert _texts(generate_messages(model, request)) == ["system: do", "user: hi"]


def test_what_nobody_means_to_send_is_refused() -> None:
    check_sizes([_user()] * MAX_MESSAGES, [Tool()] * MAX_TOOLS)
    for messages, tools in (
        ([_user()] * (MAX_MESSAGES + 1), []),
        ([], [Tool()] * (MAX_TOOLS + 1)),
        ([Message(images=[b""] * (MAX_IMAGES + 1))], []),
    ):
        with pytest.raises(InvalidRequest, match="are more than the"):
            check_sizes(messages, tools)


def test_raw_prompts_and_suffixes_have_no_messages(store: Store) -> None:
    model = _model(store, system="be")
    raw = GenerateRequest(model="m", prompt="hi", raw=True)
    infill = GenerateRequest(model="m", prompt="hi", suffix="x")
    assert generate_messages(model, raw) == generate_messages(model, infill) == []
