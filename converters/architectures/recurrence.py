"""State-space layers, as several families have them."""

import numpy as np

from converters.architectures.family import Array, Rule, as_convolution, flat

UNLIMITED = 1e30
"""An upper bound of time steps that is none; JSON has no infinity."""


def negative_log(values: Array) -> Array:
    """GGUF holds -exp(A_log)."""
    return np.log(-values)


def mixer(to: str) -> dict[str, str | Rule]:
    """Mamba 2's tensors under `to`."""
    return {
        "ssm_in": f"{to}.in_proj",
        "ssm_out": f"{to}.out_proj",
        "ssm_conv1d": Rule(to=f"{to}.conv1d", shape=as_convolution),
        "ssm_dt": Rule(to=f"{to}.dt_bias", bare=True),
        "ssm_a": Rule(to=f"{to}.A_log", bare=True, values=negative_log, shape=flat, wide=True),
        "ssm_d": Rule(to=f"{to}.D", bare=True, shape=flat),
        "ssm_norm": Rule(to=f"{to}.norm", shape=flat),
    }
