"""Which quantisations a create request may ask for."""

from mlx_ollama.errors import InvalidRequest

OLLAMA_NAMES = ("F32", "F16", "Q4_K_S", "Q4_K_M", "Q8_0")
FLOATS = ("F32", "F16", "BF16")
ACCEPTED = (*OLLAMA_NAMES, "BF16", "Q4_K", "Q4_0", "INT4", "INT8", "MXFP4", "MXFP8", "NVFP4")
# Types of llama.cpp that have no counterpart which Ollama's MLX loader reads.
_REFUSED_PREFIXES = ("Q", "IQ", "TQ")


def wanted(quantize: str) -> str:
    """The name in upper case, empty for none. `InvalidRequest` for one that we do not make."""
    name = quantize.upper()
    if not name or name in ACCEPTED:
        return {"Q4_K": "Q4_K_M"}.get(name, name)
    names = ACCEPTED if _is_known(name) else OLLAMA_NAMES
    raise InvalidRequest(
        f"unsupported quantization type {name} - supported types are {', '.join(names)}"
    )


def _is_known(name: str) -> bool:
    digits = name.removeprefix("I").removeprefix("T").removeprefix("Q")[:1]
    return name.startswith(_REFUSED_PREFIXES) and digits in ("1", "2", "3", "4", "5", "6")


def check_source(file_type: str) -> None:
    """Only float weights can be quantised."""
    if file_type.upper() not in FLOATS:
        raise InvalidRequest("quantization is only supported for F16, BF16 and F32 models")
