"""The tool-call formats by our names, one file a format."""

from mlx_ollama.parsers.tools.json_calls import HERMES
from mlx_ollama.parsers.tools.qwen3_coder import QWEN3_CODER
from mlx_ollama.parsers.tools.tool_format import ToolFormat

TOOL_FORMATS: dict[str, ToolFormat] = {
    "hermes": HERMES,
    "qwen3-coder": QWEN3_CODER,
}
