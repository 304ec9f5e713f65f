"""EXAONE MoE: which layers have experts, said layer by layer."""

from typing import Any

from converters.checkpoints import Steps, glm4_moe


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    config, steps = glm4_moe.arrange(config, steps)
    layers = range(config.get("num_hidden_layers", 0))
    sparse = [f"model.layers.{i}.mlp.gate.weight" in steps for i in layers]
    return config | {"is_moe_layer": sparse}, steps
