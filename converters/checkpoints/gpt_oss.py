"""gpt-oss: the rows of gate and up take turns in one stack; as floats it lies transposed."""

from typing import Any

import numpy as np

from converters.checkpoints import Steps
from converters.checkpoints.stacks import part
from converters.safetensors.arrays import Array
from converters.weights import Step

_FUSED = {"gate_proj": 0, "up_proj": 1}


def arrange(config: dict[str, Any], steps: Steps) -> tuple[dict[str, Any], Steps]:
    made: Steps = {}
    for name, step in steps.items():
        for piece in _pieces(name, step):
            made[piece.name] = piece
    return config, made


def _pieces(name: str, step: Step) -> list[Step]:
    stem = name.rpartition(".")[0]
    if name.endswith(".experts.gate_up_proj_bias"):
        return [
            part(
                f"{stem}.{leaf}.bias",
                step,
                (step.shape[0], step.shape[1] // 2),
                _every_second(at, 1),
            )
            for leaf, at in _FUSED.items()
        ]
    if name.endswith(".experts.gate_up_proj"):
        return [_half(f"{stem}.{leaf}.weight", step, at) for leaf, at in _FUSED.items()]
    if name.endswith(".experts.down_proj_bias"):
        return [part(f"{stem}.down_proj.bias", step, step.shape, _same)]
    if name.endswith(".experts.down_proj"):
        shape = step.shape if step.is_packed else _turned(step.shape)
        return [part(f"{stem}.down_proj.weight", step, shape, _transposed, _same)]
    return [step]


def _half(name: str, step: Step, at: int) -> Step:
    rows, columns = step.shape[1:] if step.is_packed else step.shape[:0:-1]
    shape = (step.shape[0], rows // 2, columns)
    second = _every_second(at, 1)
    return part(name, step, shape, lambda array: second(_transposed(array)), second)


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[0], shape[2], shape[1])


def _transposed(array: Array) -> Array:
    return Array(array.dtype, np.ascontiguousarray(array.data.swapaxes(1, 2)))


def _every_second(at: int, axis: int) -> Any:
    def take(array: Array) -> Array:
        index = [slice(None)] * array.data.ndim
        index[axis] = slice(at, None, 2)
        return Array(array.dtype, np.ascontiguousarray(array.data[tuple(index)]))

    return take


def _same(array: Array) -> Array:
    return array
