"""Vectors: length rules, order, length one. The embedder is a double whose vectors show what it was given."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from mlx_ollama.ipc.messages import Done, Embed, Fault, FromRunner, Progress, Vectors
from mlx_ollama.runner.deadline import Workers
from mlx_ollama.runner.embedding import Embeddings
from mlx_ollama.runner.tokenizer import Tokenizer
from tests.unit.runner.conftest import byte_level, load


class Showing:
    """A row's vector: its number of ids, its first id, its last id."""

    def embed(self, rows: Sequence[Sequence[int]]) -> Any:
        return np.array([[len(row), row[0], row[-1]] for row in rows], np.float32)


class Broken:
    def embed(self, rows: Sequence[Sequence[int]]) -> Any:
        return np.full((len(rows), 2), np.nan, np.float32)


class Inline:
    """In place of the engine's thread: what is posted is kept until `run`."""

    def __init__(self) -> None:
        self.posted = list[Callable[[Any], object]]()
        self.arrived = threading.Event()

    def post(self, command: Callable[[Any], object]) -> None:
        self.posted.append(command)
        self.arrived.set()


class Kept:
    """In place of the outbox."""

    def __init__(self) -> None:
        self.messages = list[FromRunner]()
        self.arrived = threading.Event()

    def put(self, messages: list[FromRunner]) -> set[int]:
        self.messages += messages
        self.arrived.set()
        return set()


class Stage:
    def __init__(self, tokenizer: Tokenizer, embedder: Any) -> None:
        self.engine, self.outbox = Inline(), Kept()
        model: Any = type("Model", (), {"num_ctx": 64, "tokenizer": tokenizer})()
        engine: Any = self.engine
        outbox: Any = self.outbox
        self.embeddings = Embeddings(model, embedder, engine, outbox, Workers(), lambda: None)

    def ask(self, **fields: Any) -> FromRunner:
        self.embeddings.begin(Embed(id=1, **fields))
        while self.embeddings.count:
            self.run_some()
        *progress, last = self.outbox.messages
        assert all(isinstance(message, Progress) for message in progress)
        self.outbox.messages = []
        assert self.embeddings.count == 0
        return last

    def run_some(self) -> None:
        self.engine.arrived.wait(0.05)
        posted, self.engine.posted = self.engine.posted, []
        for command in posted:
            command(None)


def rows(found: FromRunner) -> np.ndarray[Any, Any]:
    assert isinstance(found, Vectors), found
    return np.frombuffer(found.data, "<f4").reshape(found.count, found.width)


TOKENIZER = load(byte_level(), bos_token="<s>", add_bos_token=True)


@pytest.fixture
def stage() -> Stage:
    return Stage(TOKENIZER, Showing())


def test_vectors_come_in_the_order_of_the_texts(stage: Stage) -> None:
    found = rows(stage.ask(inputs=["aaaaaa", "b", "ccc"], normalize=False))
    assert found[:, 0].tolist() == [7, 2, 4]  # each with its beginning


def test_tokens_are_counted_over_all_texts(stage: Stage) -> None:
    found = stage.ask(inputs=["aaaaaa", "b"])
    assert isinstance(found, Vectors)
    assert (found.tokens, found.count, found.width) == (9, 2, 3)


def test_vectors_have_length_one_unless_they_are_wanted_as_they_are(stage: Stage) -> None:
    assert np.allclose(np.linalg.norm(rows(stage.ask(inputs=["a", "bb"])), axis=1), 1)
    assert rows(stage.ask(inputs=["a"], normalize=False))[0, 0] == 2


def test_a_shortened_vector_has_length_one_again(stage: Stage) -> None:
    found = rows(stage.ask(inputs=["aaa"], dimensions=2))
    assert found.shape == (1, 2)
    assert np.allclose(np.linalg.norm(found), 1)
    assert rows(stage.ask(inputs=["aaa"], dimensions=99)).shape == (1, 3)


def test_a_long_text_is_cut_or_refused(stage: Stage) -> None:
    assert rows(stage.ask(inputs=["a" * 99], normalize=False))[0, 0] == 64
    assert rows(stage.ask(inputs=["a" * 99], num_ctx=10, normalize=False))[0, 0] == 10
    refused = stage.ask(inputs=["a", "a" * 99], truncate=False)
    text = "the input length exceeds the context length"
    assert refused == Fault(id=1, kind="invalid", message=text)


def test_a_window_without_room_for_text_is_refused(stage: Stage) -> None:
    text = "input after truncation exceeds maximum context length"
    assert stage.ask(inputs=["a"], num_ctx=1) == Fault(id=1, kind="invalid", message=text)


def test_an_empty_text_has_a_vector(stage: Stage) -> None:
    assert rows(stage.ask(inputs=[""], normalize=False))[0, 0] == 1


def test_values_that_are_no_numbers_are_an_error() -> None:
    found = Stage(TOKENIZER, Broken()).ask(inputs=["a"])
    text = "embedding contains NaN or Inf values"
    assert found == Fault(id=1, kind="invalid", message=text)


def test_a_model_without_vectors_says_so() -> None:
    found = Stage(TOKENIZER, None).ask(inputs=["a"])
    assert isinstance(found, Fault)
    assert found.kind == "not_implemented"


def test_an_abort_drops_the_batches_to_come(stage: Stage) -> None:
    stage.embeddings.begin(Embed(id=1, inputs=["a"]))
    stage.embeddings.abort(1)
    (last,) = stage.outbox.messages
    assert isinstance(last, Done)
    stage.engine.arrived.wait(5)
    stage.run_some()
    assert stage.outbox.messages == [last]


def test_an_encoder_s_texts_stand_between_its_marks() -> None:
    parsed = byte_level()
    ids = {token["content"]: token["id"] for token in parsed["added_tokens"]}
    special = {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in ("<s>", "</s>")}
    parsed["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": special,
    }
    assert load(parsed).frame == ([ids["<s>"]], [ids["</s>"]])
    assert TOKENIZER.frame == ([ids["<s>"]], [])
