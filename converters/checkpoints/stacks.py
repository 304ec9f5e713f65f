"""Weights made of several: the matrices of experts as one stack, and parts of a stack."""

from collections.abc import Callable, Sequence

import numpy as np

from converters.errors import InvalidSource
from converters.safetensors.arrays import Array
from converters.weights import Packed, Step


def stacked(name: str, steps: Sequence[Step]) -> Step:
    """(experts, rows, columns) of matrices of one shape."""
    first = steps[0]
    if any(step.shape != first.shape or step.is_packed != first.is_packed for step in steps):
        raise InvalidSource(f'the experts of "{name}" differ in shape')

    def make() -> Array | Packed:
        return _stack([step.make() for step in steps])

    shape = (len(steps), *first.shape)
    size = sum(step.size for step in steps)
    return Step(name=name, shape=shape, size=size, make=make, is_packed=first.is_packed)


def _stack(made: Sequence[Array | Packed]) -> Array | Packed:
    if all(isinstance(weight, Array) for weight in made):
        return _stack_arrays([weight for weight in made if isinstance(weight, Array)])
    packed = [weight for weight in made if isinstance(weight, Packed)]
    if len(packed) != len(made) or len({p.packing for p in packed}) > 1:
        raise InvalidSource("the experts of a layer are packed differently")
    if any(p.global_scale is not None for p in packed):
        packed = [_without_global_scale(p) for p in packed]
    biases = [p.bias for p in packed if p.bias is not None]
    return Packed(
        packed[0].packing,
        _stack_arrays([p.weight for p in packed]),
        _stack_arrays([p.scale for p in packed]),
        _stack_arrays(biases) if biases else None,
    )


def _without_global_scale(packed: Packed) -> Packed:
    raise InvalidSource("experts with a scale for all of each are not supported yet")


def _stack_arrays(arrays: Sequence[Array]) -> Array:
    kinds = {array.dtype for array in arrays}
    if len(kinds) == 1:
        return Array(arrays[0].dtype, np.stack([array.data for array in arrays]))
    return Array("F32", np.stack([array.floats() for array in arrays]))


def part(
    name: str,
    step: Step,
    shape: tuple[int, ...],
    of_array: Callable[[Array], Array],
    of_packed: Callable[[Array], Array] | None = None,
) -> Step:
    """A piece of another weight; of a packed one, the same piece of its words, scales and biases."""

    def make() -> Array | Packed:
        whole = step.make()
        if isinstance(whole, Array):
            return of_array(whole)
        cut = of_packed or of_array
        bias = cut(whole.bias) if whole.bias is not None else None
        return Packed(whole.packing, cut(whole.weight), cut(whole.scale), bias, whole.global_scale)

    size = step.size * int(np.prod(shape)) // max(1, int(np.prod(step.shape)))
    return Step(name=name, shape=shape, size=size, make=make, is_packed=step.is_packed)


def halves(step: Step, first: str, second: str) -> list[Step]:
    """The upper and the lower half of the rows (the last dimension but one) under two names."""
    *outer, rows, columns = step.shape
    half = rows // 2
    shape = (*outer, half, columns)
    cuts = ((first, slice(half)), (second, slice(half, rows)))
    return [part(name, step, shape, _rows(cut)) for name, cut in cuts]


def _rows(cut: slice) -> Callable[[Array], Array]:
    return lambda array: Array(array.dtype, np.ascontiguousarray(array.data[..., cut, :]))
