"""Every block format we convert, by ggml's name of it."""

from converters.gguf.blocks import codebook, float4, k_quants, legacy, nonlinear, ternary
from converters.gguf.blocks.format import Format

FORMATS: dict[str, Format] = {
    **legacy.FORMATS,
    **k_quants.FORMATS,
    **nonlinear.FORMATS,
    **codebook.FORMATS,
    **ternary.FORMATS,
    **float4.FORMATS,
}
FLOATS = frozenset({"F32", "F16", "BF16", "F64"})
