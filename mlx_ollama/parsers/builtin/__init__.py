"""The built-in parsers by Ollama's names, one file a format."""

from mlx_ollama.parsers.builtin import (
    cogito,
    cohere,
    deepseek3,
    functiongemma,
    gemma4,
    glm,
    lfm2,
    ministral,
    nemotron,
    olmo3,
    olmo3_think,
    passthrough,
    qwen3,
    qwen3_5,
    qwen3_coder,
    qwen3_vl,
)
from mlx_ollama.parsers.builtin.builtin import Builtin

BUILTINS: dict[str, Builtin] = {
    **cogito.NAMES,
    **cohere.NAMES,
    **deepseek3.NAMES,
    **functiongemma.NAMES,
    **gemma4.NAMES,
    **glm.NAMES,
    **lfm2.NAMES,
    **ministral.NAMES,
    **nemotron.NAMES,
    **olmo3.NAMES,
    **olmo3_think.NAMES,
    **passthrough.NAMES,
    **qwen3.NAMES,
    **qwen3_5.NAMES,
    **qwen3_coder.NAMES,
    **qwen3_vl.NAMES,
}
