"""The text model of Qwen2-VL and Qwen2.5-VL: Qwen 2 with positions in three dimensions."""

from converters.architectures.base_config import base_config
from converters.architectures.family import STANDARD, Config, Family, Source


def configure(source: Source) -> Config:
    config = base_config(source, "qwen2_5_vl_text", scales_rope=False)
    sections = source.h.counts("rope.dimension_sections", 3)
    rope = {"rope_type": "default", "rope_theta": config["rope_theta"], "mrope_section": sections}
    return config | {"rope_parameters": rope}


FAMILY = Family(configure=configure, blocks=STANDARD)
