"""Thirteen vocabularies against llama.cpp's ids of 485 texts."""

import json
import lzma
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from converters import inventory
from converters.gguf.metadata_files import KINDS, chat_templates
from converters.gguf.tokenizers.endings import end_tokens
from converters.gguf.tokenizers.pretokenizers import PRETOKENIZERS
from converters.gguf.tokenizers.vocabulary import Kind, Vocabulary, read_vocabulary

NAMES = [
    "bert-bge",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gpt-2",
    "gpt-neox",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "starcoder",
]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vocab")


@cache
def _extract(archive: Path, into: Path) -> None:
    with lzma.open(archive) as plain, tarfile.open(fileobj=plain) as tar:
        tar.extractall(into, filter="data")


def differs_on_purpose(name: str, mode: str, text: str) -> bool:
    """Where llama.cpp departs from the model's own tokenizer, and we do not.

    qwen2: llama.cpp takes `</s>` for an end token in every vocabulary that holds it; Qwen's has it as an
    ordinary token, and HTML has it too. bert-bge: llama.cpp cuts Hangul, combining marks, emoji and words
    in its own way, where BERT's normalizer decides (the model was trained with that one).
    """
    if name == "qwen2" and mode == "special":
        return "</s>" in text
    return name == "bert-bge" and not text.isascii()


@pytest.mark.timeout(90)  # 256,000 tokens on a busy machine
@pytest.mark.parametrize("name", NAMES)
def test_ids_are_llama_cpps(name: str, shared: Path, unpacked: Path) -> None:
    _extract(shared / "vocab" / "vocab-gguf.tar.xz", unpacked)
    golden = json.loads((shared / "vocab" / f"{name}.json").read_text())
    texts = json.loads((shared / "vocab" / "texts.json").read_text())
    metadata = inventory.read(unpacked / f"{name}.gguf").metadata
    vocabulary = read_vocabulary(metadata)
    build, adds_bos = KINDS[metadata["tokenizer.ggml.model"]]
    tokenizer = Tokenizer.from_str(json.dumps(build(vocabulary)))
    assert adds_bos(vocabulary) == bool(golden["add_bos"])
    differing = [
        (mode, text)
        for mode, plain in (("plain", True), ("special", False))
        for text, ids in zip(texts, golden[mode], strict=True)
        if _ids(tokenizer, text, plain) != ids
    ]
    assert [d for d in differing if not differs_on_purpose(name, *d)] == []
    assert len(differing) <= {"qwen2": 13, "bert-bge": 154}.get(name, 0)


def _ids(tokenizer: Tokenizer, text: str, plain: bool) -> list[int]:
    tokenizer.encode_special_tokens = plain
    return tokenizer.encode(text, add_special_tokens=False).ids


def test_every_pretokenizer_is_accepted_and_loses_nothing() -> None:
    from tokenizers import Regex, pre_tokenizers

    text = "Hello 1234567 don't — 世界 e\u0301 <x>\n\n\tz"
    for name, pretokenizer in PRETOKENIZERS.items():
        cuts = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(p), "isolated") for p in pretokenizer.patterns]
        )
        pieces = [piece for piece, _ in cuts.pre_tokenize_str(text)]
        assert "".join(pieces) == text, name


def vocabulary_of(tokens: list[str], kinds: list[int] | None = None, **keys: Any) -> Vocabulary:
    metadata: dict[str, Any] = {"tokenizer.ggml.tokens": tokens}
    if kinds is not None:
        metadata["tokenizer.ggml.token_type"] = kinds
    return read_vocabulary(metadata | {f"tokenizer.ggml.{k}": v for k, v in keys.items()})


def test_empty_and_repeated_tokens_keep_their_ids() -> None:
    found = vocabulary_of(["a", "", "a", "b"])
    assert found.tokens == ["a", "[EMPTY_1]", "[REPEATED_2]", "b"]


def test_an_end_token_marked_as_text_is_control_but_a_tag_stays_text() -> None:
    found = vocabulary_of(["<|im_end|>", "</s>", "x"], [1, 1, 1])
    assert list(found.kinds) == [Kind.CONTROL, Kind.NORMAL, Kind.NORMAL]
    assert end_tokens(found) == [0]


def test_end_tokens_come_from_keys_lists_and_names() -> None:
    tokens = ["x", "<stop>", "<|eot_id|>", "<other>", "y"]
    found = vocabulary_of(tokens, [1, 3, 3, 3, 1], eos_token_id=1, eos_token_ids=[3])
    assert end_tokens(found) == [1, 2, 3]


def test_harmonys_end_of_message_does_not_end_the_answer() -> None:
    found = vocabulary_of(["<|end|>", "<|return|>", "<|call|>"], [3, 3, 3], eos_token_id=1)
    assert end_tokens(found) == [1, 2]


def test_named_templates_are_kept() -> None:
    metadata = {"tokenizer.chat_template": "A", "tokenizer.chat_template.tool_use": "B"}
    assert chat_templates(metadata) == [
        {"name": "default", "template": "A"},
        {"name": "tool_use", "template": "B"},
    ]
    assert chat_templates({"tokenizer.chat_template": "A"}) == "A"
    assert chat_templates({}) is None
