"""dots.llm1: its class keeps the stacks of experts below `experts`."""

from typing import Any

from converters.checkpoints import Steps, experts
from converters.checkpoints.names import renamed


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    config, steps = experts.arrange(config, steps)
    return config, renamed(steps, lambda name: name.replace(".switch_mlp.", ".experts."))
