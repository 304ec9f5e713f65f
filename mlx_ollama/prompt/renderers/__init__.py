"""The built-in prompt formats, one file each, by Ollama's names."""

from collections.abc import Callable
from typing import Protocol

from mlx_ollama.prompt.conversation import Conversation, TemplateError
from mlx_ollama.prompt.go_strconv import quote
from mlx_ollama.prompt.renderers import olmo3
from mlx_ollama.prompt.renderers.cogito import Cogito
from mlx_ollama.prompt.renderers.cohere import Cohere
from mlx_ollama.prompt.renderers.deepseek3 import DeepSeek31
from mlx_ollama.prompt.renderers.functiongemma import FunctionGemma
from mlx_ollama.prompt.renderers.gemma4 import Gemma4
from mlx_ollama.prompt.renderers.glimmer import Glimmer
from mlx_ollama.prompt.renderers.glm47 import GLM47
from mlx_ollama.prompt.renderers.glm_ocr import GlmOcr
from mlx_ollama.prompt.renderers.laguna import Laguna, PoolsideV1
from mlx_ollama.prompt.renderers.lfm2 import LFM2
from mlx_ollama.prompt.renderers.nemotron3 import Nemotron3
from mlx_ollama.prompt.renderers.olmo3 import Olmo3, Olmo3Think
from mlx_ollama.prompt.renderers.qwen3_coder import Qwen3Coder
from mlx_ollama.prompt.renderers.qwen3_vl import Qwen3VL
from mlx_ollama.prompt.renderers.qwen35 import Qwen35, Qwen38


class BuiltinRenderer(Protocol):
    """`leading_bos` is the text of the token that every prompt of the format begins with, if any."""

    @property
    def leading_bos(self) -> str: ...

    def render(self, conversation: Conversation) -> str:
        """The whole prompt; raises TemplateError."""
        ...


# Each is given whether images are `[img-N]` (the model's own marks otherwise).
_FORMATS: dict[str, Callable[[bool], BuiltinRenderer]] = {
    "cogito": lambda _: Cogito(),
    "cohere": lambda _: Cohere(),
    "deepseek3.1": lambda _: DeepSeek31(),
    "functiongemma": lambda _: FunctionGemma(),
    "gemma4": lambda tags: Gemma4(image_tags=tags),
    "gemma4-large": lambda tags: Gemma4(empties_thought=True, image_tags=tags),
    "gemma4-small": lambda tags: Gemma4(image_tags=tags),
    "glimmer": lambda tags: Glimmer(image_tags=tags),
    "glm-4.7": lambda _: GLM47(),
    "glm-ocr": lambda tags: GlmOcr(image_tags=tags),
    "laguna": lambda _: Laguna(),
    "lfm2": lambda tags: LFM2(image_tags=tags),
    "lfm2-thinking": lambda tags: LFM2(thinks=True, image_tags=tags),
    "nemotron-3-nano": lambda _: Nemotron3(),
    "nemotron-3.5-nano": lambda _: Nemotron3(is_35=True),
    "olmo3": lambda _: Olmo3(olmo3.PLAIN),
    "olmo3-32b-think": lambda _: Olmo3Think(olmo3.THINK_32B),
    "olmo3-think": lambda _: Olmo3Think(olmo3.IDENTITY),
    "olmo3.1": lambda _: Olmo3(f"{olmo3.IDENTITY} "),
    "ornith": lambda tags: Qwen35(keeps_thinking=True, image_tags=tags),
    "poolside-v1": lambda _: PoolsideV1(),
    "qwen3-coder": lambda _: Qwen3Coder(),
    "qwen3-vl-instruct": lambda tags: Qwen3VL(thinks=False, image_tags=tags),
    "qwen3-vl-thinking": lambda tags: Qwen3VL(thinks=True, image_tags=tags),
    "qwen3.5": lambda tags: Qwen35(image_tags=tags),
    "qwen3.8": lambda tags: Qwen38(keeps_thinking=True, image_tags=tags),
}
NAMES = frozenset(_FORMATS)


def renderer(name: str, *, image_tags: bool = True) -> BuiltinRenderer:
    """The format of that name; raises TemplateError where there is none."""
    if name not in _FORMATS:
        raise TemplateError(f"unknown renderer {quote(name)}")
    return _FORMATS[name](image_tags)


def leading_bos(name: str) -> str:
    """What every prompt of the format begins with; "" also for unknown names."""
    return renderer(name).leading_bos if name in _FORMATS else ""
