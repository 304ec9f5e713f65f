"""What a class of mlx-lm would pass over is refused, whichever file says it."""

import lzma
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converters import inventory
from converters.errors import Unsupported
from converters.plan import plan
from tests.conftest import DATA

LINEAR: dict[str, Any] = {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0}


@pytest.mark.parametrize(("name", "refused"), [("gemma", True), ("cohere", True), ("llama", False)])
def test_rotary_scaling_that_a_class_ignores_is_refused(
    tmp_path: Path, name: str, refused: bool
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(lzma.decompress((DATA / "zoo" / f"{name}.gguf.xz").read_bytes()))
    found = inventory.read(file)
    scaled = {f"{found.architecture}.{key}": value for key, value in LINEAR.items()}
    changed = replace(found, metadata={**found.metadata, **scaled})
    if refused:
        with pytest.raises(Unsupported, match="with this rope_scaling is not supported yet"):
            plan(changed, compact=False)
    else:
        assert plan(changed, compact=False).config["rope_scaling"]["factor"] == 2.0
