"""The tool-call formats by our names, one file a format. Where several appear in a template, the first one counts."""

from dataclasses import replace

from mlx_ollama.parsers.tools.deepseek import DEEPSEEK
from mlx_ollama.parsers.tools.dsml import DSML, DSML_V4
from mlx_ollama.parsers.tools.gemma import FUNCTION_GEMMA, GEMMA4
from mlx_ollama.parsers.tools.generic import LeadingCalls, TaggedCalls
from mlx_ollama.parsers.tools.glm import GLM
from mlx_ollama.parsers.tools.json_calls import HERMES
from mlx_ollama.parsers.tools.kimi import KIMI
from mlx_ollama.parsers.tools.llama3 import LLAMA3
from mlx_ollama.parsers.tools.minimax import MINIMAX
from mlx_ollama.parsers.tools.mistral import MISTRAL
from mlx_ollama.parsers.tools.python_calls import LFM2, OLMO3
from mlx_ollama.parsers.tools.qwen3_coder import QWEN3_CODER, SEED
from mlx_ollama.parsers.tools.tool_format import ToolFormat

TOOL_FORMATS: dict[str, ToolFormat] = {
    "minimax": MINIMAX,
    "dsml": DSML,
    "dsml-v4": DSML_V4,
    "seed": SEED,
    "gemma4": GEMMA4,
    "functiongemma": FUNCTION_GEMMA,
    "glm": GLM,
    "lfm2": LFM2,
    "lfm2-list": replace(LFM2, signs=("<|tool_list_start|>",)),
    "qwen3-coder": QWEN3_CODER,
    "kimi": KIMI,
    "deepseek": DEEPSEEK,
    "mistral": MISTRAL,
    "tool-calls": TaggedCalls("<tool_calls>"),
    "hermes": HERMES,
    "olmo3": OLMO3,
    "granite": TaggedCalls("<|tool_call|>"),
    "nemotron": TaggedCalls("<TOOLCALL>"),
    "apertus": TaggedCalls("<|tools_prefix|>", "<|tools_suffix|>"),
    "phi": TaggedCalls("functools"),
    "llama3": LLAMA3,
    "pythonic": LeadingCalls("[", signs=("[func_name1(",)),
    "json": LeadingCalls("{"),
}
