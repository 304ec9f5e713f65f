"""Every block format we convert, by ggml's name of it."""

from converters.gguf.blocks import legacy
from converters.gguf.blocks.format import Format

FORMATS: dict[str, Format] = {**legacy.FORMATS}
FLOATS = frozenset({"F32", "F16", "BF16", "F64"})
