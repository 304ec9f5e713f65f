"""The small files of an mlx-lm directory, from GGUF metadata."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from converters.errors import Unsupported
from converters.gguf.cursor import invalid
from converters.gguf.hyperparameters import Hyperparameters
from converters.gguf.tokenizers import bpe, spm, unigram, wordpiece
from converters.gguf.tokenizers.endings import end_tokens
from converters.gguf.tokenizers.parts import Json
from converters.gguf.tokenizers.vocabulary import Vocabulary, read_vocabulary
from converters.inventory import Inventory

KINDS: dict[str, tuple[Callable[[Vocabulary], Json], Callable[[Vocabulary], bool]]] = {
    "gpt2": (bpe.tokenizer, bpe.adds_bos),
    "llama": (spm.tokenizer, spm.adds_bos),
    "gemma4": (spm.gemma4, spm.adds_bos),
    "bert": (wordpiece.tokenizer, wordpiece.adds_bos),
    "t5": (unigram.tokenizer, unigram.adds_bos),
}
"""`tokenizer.ggml.model` → (tokenizer.json, whether a begin token is put before text)."""


def small_files(inventory: Inventory, config: Mapping[str, Any]) -> dict[str, bytes]:
    """Name → content of all but config.json and the weights. Raises InvalidSource and Unsupported."""
    config = config.get("text_config", config)
    kind = inventory.metadata.get("tokenizer.ggml.model")
    if not isinstance(kind, str):
        invalid('key "tokenizer.ggml.model" is missing')
    if kind not in KINDS:
        raise Unsupported(f'tokenizer "{kind[:64]}" is not supported yet')
    vocabulary = read_vocabulary(inventory.metadata)
    if len(vocabulary.tokens) > config["vocab_size"]:  # such an id would read past the embeddings
        invalid('key "tokenizer.ggml.tokens" has more tokens than "token_embd.weight" has rows')
    tokenizer, adds_bos = KINDS[kind]
    settings = tokenizer_config(vocabulary, adds_bos(vocabulary), config)
    files = {
        "tokenizer.json": tokenizer(vocabulary),
        "tokenizer_config.json": settings,
        "generation_config.json": generation_config(vocabulary),
    }
    return {name: _json(content) for name, content in (files | pooling_files(inventory)).items()}


POOLINGS = {1: "mean_tokens", 2: "cls_token", 3: "lasttoken"}


def pooling_files(inventory: Inventory) -> dict[str, Json]:
    """What an embedding model's metadata say, in the files of sentence-transformers."""
    h = Hyperparameters(inventory.metadata, inventory.architecture)
    kind = h.raw("pooling_type", 0)
    if not kind:
        return {}
    if kind not in POOLINGS:
        raise Unsupported("the pooling of this model is not supported yet")
    return {
        "1_Pooling/config.json": {f"pooling_mode_{POOLINGS[kind]}": True},
        "sentence_bert_config.json": {"max_seq_length": h.count("context_length", maximum=1 << 30)},
    }


def tokenizer_config(vocabulary: Vocabulary, adds_bos: bool, config: Mapping[str, Any]) -> Json:
    found: Json = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": config["max_position_embeddings"],
        "add_bos_token": adds_bos,
        "add_eos_token": vocabulary.flag("add_eos_token", False),
    }
    keys = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    for ours, theirs in keys.items():
        token_id = vocabulary.token_id(ours)
        if token_id is not None:
            found[f"{theirs}_token"] = vocabulary.tokens[token_id]
    templates = chat_templates(vocabulary.metadata)
    if templates:
        found["chat_template"] = templates
    return found


def chat_templates(metadata: Mapping[str, Any]) -> str | list[Json] | None:
    """The template, or `[{name, template}]` where the file has several, as Hugging Face writes them."""
    plain = metadata.get("tokenizer.chat_template")
    prefix = "tokenizer.chat_template."
    named = {k.removeprefix(prefix): v for k, v in metadata.items() if k.startswith(prefix)}
    texts = {name: text for name, text in named.items() if isinstance(text, str)}
    if not isinstance(plain, str):
        plain = texts.pop("default", None)
    if not texts:
        return plain
    default = {} if plain is None else {"default": plain}
    return [{"name": name, "template": text} for name, text in (default | texts).items()]


def generation_config(vocabulary: Vocabulary) -> Json:
    bos = vocabulary.token_id("bos")
    begin = {} if bos is None else {"bos_token_id": bos}
    return begin | {"eos_token_id": end_tokens(vocabulary)}


def _json(content: Json) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
