"""The generation options, with Ollama's defaults (contract 3.6). Already resolved when a runner sees them."""

from msgspec import Struct, field


class Options(Struct, kw_only=True, omit_defaults=True):
    """Defaults < environment (`num_ctx`) < the model's parameters < the request. `num_ctx` 0 means automatic."""

    num_ctx: int = 0
    num_keep: int = 4
    num_predict: int = -1
    seed: int = -1
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    stop: list[str] = field(default_factory=list)
