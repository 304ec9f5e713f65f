"""Ollama's options as the engine takes them."""

from mlx_ollama.api.options import Options
from mlx_ollama.engine.sequence import SamplingParams

# Without a limit of the request's own an answer ends here, as on Ollama's GGUF runner.
CONTEXTS_AN_ANSWER = 10
_SEED_BITS = (1 << 63) - 1


def sampling_params(options: Options, num_ctx: int, top_logprobs: int | None) -> SamplingParams:
    """Values out of range mean "off", as llama.cpp reads them; -1 as `repeat_last_n` means the whole window."""
    return SamplingParams(
        temperature=max(options.temperature, 0.0),
        top_k=max(options.top_k, 0),
        top_p=min(max(options.top_p, 0.0), 1.0),
        min_p=min(max(options.min_p, 0.0), 1.0),
        typical_p=min(max(options.typical_p, 0.0), 1.0),
        seed=None if options.seed < 0 else options.seed & _SEED_BITS,
        repeat_penalty=options.repeat_penalty,
        repeat_last_n=num_ctx if options.repeat_last_n < 0 else options.repeat_last_n,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        top_logprobs=top_logprobs,
    )


def max_tokens(options: Options, num_ctx: int) -> int:
    """How many tokens an answer may have; `num_predict` of 0 or less is no limit."""
    if options.num_predict > 0:
        return options.num_predict
    return CONTEXTS_AN_ANSWER * num_ctx
