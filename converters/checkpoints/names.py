"""Weights under other names, or turned."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from converters.checkpoints import Steps
from converters.checkpoints.stacks import part
from converters.safetensors.arrays import Array
from converters.weights import Step


def renamed(steps: Steps, rename: Callable[[str], str]) -> Steps:
    """The same weights; `rename` gives a name's new one."""
    made = (replace(step, name=rename(name)) for name, step in steps.items())
    return {step.name: step for step in made}


def transposed(step: Step) -> Step:
    """A matrix with its rows as columns."""
    return part(step.name, step, step.shape[::-1], _transposed)


def as_convolution(step: Step) -> Step:
    """(channels, 1, width) as MLX has it: (channels, width, 1)."""
    channels, one, width = step.shape
    return part(step.name, step, (channels, width, one), _swapped)


def _transposed(array: Array) -> Array:
    return Array(array.dtype, np.ascontiguousarray(array.data.T))


def _swapped(array: Array) -> Array:
    return Array(array.dtype, np.ascontiguousarray(array.data.swapaxes(1, 2)))
