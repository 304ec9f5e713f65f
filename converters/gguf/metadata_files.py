"""The small files of an mlx-lm directory, from GGUF metadata."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from converters.errors import Unsupported
from converters.gguf.cursor import invalid
from converters.gguf.tokenizers import bpe
from converters.gguf.tokenizers.parts import Json
from converters.gguf.tokenizers.vocabulary import Vocabulary, read_vocabulary
from converters.inventory import Inventory

KINDS: dict[str, tuple[Callable[[Vocabulary], Json], Callable[[Vocabulary], bool]]] = {
    "gpt2": (bpe.tokenizer, bpe.adds_bos),
}
"""`tokenizer.ggml.model` → (tokenizer.json, whether a begin token is put before text)."""

END_KEYS = ("eos", "eot", "eom")
END_NAMES = frozenset({
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>",
    "<|end|>", "<|return|>", "<|call|>", "<EOT>", "_<EOT>", "<|END_OF_TURN_TOKEN|>", "<|end_of_turn|>",
    "<turn|>", "<｜end▁of▁sentence｜>",
})  # fmt: skip
"""Control tokens that end a turn whatever the metadata says, by the names llama.cpp knows."""


def small_files(inventory: Inventory, config: Mapping[str, Any]) -> dict[str, bytes]:
    """Name → content of all but config.json and the weights. Raises InvalidSource and Unsupported."""
    kind = inventory.metadata.get("tokenizer.ggml.model")
    if not isinstance(kind, str):
        invalid('key "tokenizer.ggml.model" is missing')
    if kind not in KINDS:
        raise Unsupported(f'tokenizer "{kind[:64]}" is not supported yet')
    vocabulary = read_vocabulary(inventory.metadata)
    tokenizer, adds_bos = KINDS[kind]
    settings = tokenizer_config(vocabulary, adds_bos(vocabulary), config)
    return {
        "tokenizer.json": _json(tokenizer(vocabulary)),
        "tokenizer_config.json": _json(settings),
        "generation_config.json": _json(generation_config(vocabulary)),
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
    """Every token that ends an answer."""
    ends = [i for key in END_KEYS if (i := vocabulary.token_id(key)) is not None]
    more = vocabulary.get("eos_token_ids", [])
    ends += [i for i in more if type(i) is int and 0 <= i < len(vocabulary.tokens)]
    ends += [i for name in sorted(END_NAMES) if (i := vocabulary.ids.get(name)) is not None]
    bos = vocabulary.token_id("bos")
    return ({} if bos is None else {"bos_token_id": bos}) | {"eos_token_id": sorted(set(ends))}


def _json(content: Json) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")
