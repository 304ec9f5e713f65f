"""Files in Ollama's own words become the same model as those in llama.cpp's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters import inventory
from converters.errors import InvalidSource
from converters.gguf.dialect import GPT_OSS_NAMES, normalised
from converters.gguf.metadata_files import small_files
from converters.inventory import Inventory, Tensor
from converters.plan import plan


def in_ollamas_words(model: Inventory) -> Inventory:
    names = {ours: theirs for theirs, ours in GPT_OSS_NAMES.items()}

    def renamed(tensor: Tensor) -> Tensor:
        start, dot, rest = tensor.name.partition(".")[0], ".", tensor.name.split(".", 2)[-1]
        number = tensor.name.split(".")[1] if start == "blk" else ""
        return replace(tensor, name=f"blk.{number}{dot}{names[rest]}") if rest in names else tensor

    keys = {k.replace("gpt-oss.", "gptoss."): v for k, v in model.metadata.items()}
    keys["general.architecture"] = "gptoss"
    del keys["gptoss.rope.scaling.type"]
    return replace(
        model,
        architecture="gptoss",
        metadata=keys,
        tensors=tuple(map(renamed, model.tensors)),
    )


def test_gpt_oss_is_the_same_model_in_both(shared: Path) -> None:
    model = inventory.read(shared / "zoo" / "gpt_oss" / "model-f16.gguf")
    theirs = in_ollamas_words(model)
    assert any(t.name.endswith("attn_out.weight") for t in theirs.tensors)
    ours, same = plan(model, compact=True), plan(theirs, compact=True)
    assert same.config == ours.config
    assert [o.name for o in same.outputs] == [o.name for o in ours.outputs]


def gemma3(shared: Path, **keys: Any) -> Inventory:
    model = inventory.read(shared / "zoo" / "gemma3" / "model-f16.gguf")
    metadata = dict(model.metadata) | {f"gemma3.{k.replace('__', '.')}": v for k, v in keys.items()}
    return replace(model, metadata=metadata)


def test_ollamas_gemma3_has_its_rope_keys_and_scaling(shared: Path) -> None:
    theirs = gemma3(
        shared,
        rope__global__freq_base=2e6,
        rope__local__freq_base=2e4,
        context_length=131072,
    )
    config = plan(theirs, compact=True).config
    assert (config["rope_theta"], config["rope_local_base_freq"]) == (2e6, 2e4)
    assert config["rope_scaling"]["factor"] == 8.0


def test_llama_cpps_gemma3_is_not_given_a_scaling(shared: Path) -> None:
    assert plan(gemma3(shared, context_length=131072), compact=True).config["rope_scaling"] is None


def test_gemma3s_surplus_tokens_are_cut_and_others_refused(shared: Path) -> None:
    tokens = [f"t{i}" for i in range(520)]
    surplus = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [1] * 520}
    gemma = gemma3(shared)
    cut = normalised(replace(gemma, metadata=dict(gemma.metadata) | surplus))
    assert len(cut.metadata["tokenizer.ggml.tokens"]) == 512
    llama = inventory.read(shared / "zoo" / "llama" / "model-f16.gguf")
    wrong = replace(llama, metadata=dict(llama.metadata) | surplus)
    with pytest.raises(InvalidSource, match="more tokens than"):
        small_files(wrong, plan(wrong, compact=True).config)


def test_llama_cpps_own_gpt_oss_keeps_its_pre_tokenizer(shared: Path) -> None:
    found = inventory.read(shared / "zoo" / "gpt_oss" / "model-f16.gguf")
    assert found.metadata["tokenizer.ggml.pre"] == "gpt-2"
    assert normalised(found).metadata["tokenizer.ggml.pre"] == "gpt-2"
