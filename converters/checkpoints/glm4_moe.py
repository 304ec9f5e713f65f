"""GLM-4.5: experts, and layers that only draft."""

from typing import Any

from converters.checkpoints import Steps, experts
from converters.checkpoints.deepseek_v3 import without_drafts


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    return experts.arrange(config, without_drafts(config, steps))
