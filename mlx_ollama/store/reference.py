"""A model as a request names it: a name, and where it is to be run (`:cloud`, `-cloud`, `:local`)."""

from typing import Literal, NamedTuple

from mlx_ollama.errors import InvalidRequest

Source = Literal["", "local", "cloud"]


class ModelReference(NamedTuple):
    """`base` is the text without its mark. Only Ollama's own service runs "cloud" models."""

    base: str
    source: Source = ""

    @property
    def pulled_as(self) -> str:
        """The name under which a registry has it."""
        if self.source != "cloud":
            return self.base
        return f"{self.base}-cloud" if has_tag(self.base) else f"{self.base}:cloud"


def has_tag(text: str) -> bool:
    """Whether a tag is written out, so that a host's port is not taken for one."""
    return text.rfind(":") > text.rfind("/")


def _split_mark(text: str) -> ModelReference:
    if not has_tag(text):
        return ModelReference(text)
    base, _, tag = text.rpartition(":")
    mark = tag.strip().lower()
    if mark in ("cloud", "local"):
        return ModelReference(base, "cloud" if mark == "cloud" else "local")
    if mark.endswith("-cloud"):
        return ModelReference(f"{base}:{tag.strip()[: -len('-cloud')]}", "cloud")
    return ModelReference(text)


def parse_reference(text: str) -> ModelReference:
    """The reference that `text` is; `InvalidRequest` when it is empty or marked twice."""
    text = text.strip()
    if not text:
        raise InvalidRequest("model is required")
    reference = _split_mark(text)
    if reference.source and _split_mark(reference.base).source:
        raise InvalidRequest(f'use either :local or :cloud, not both: "{text}"')
    return reference
