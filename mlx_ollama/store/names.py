"""Model names: `[scheme://][host/][namespace/]model[:tag]`.

Invariant: a `ModelName` is valid, so each of its four parts is safe as one component of a path.
"""

import re
from typing import NamedTuple, Self

from msgspec import Struct

from mlx_ollama.errors import InvalidName

DEFAULT_SCHEME = "https"
DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"
MISSING = "!MISSING!"  # what a separator promised and nothing followed; never valid

_PART = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}


def is_valid_part(kind: str, text: str) -> bool:
    """Whether `text` may be the host, namespace, model or tag (`kind`) of a name."""
    return _PART[kind].fullmatch(text) is not None


class NameParts(NamedTuple):
    """What was written, part by part and unchecked; empty where nothing was."""

    scheme: str = ""
    host: str = ""
    namespace: str = ""
    model: str = ""
    tag: str = ""

    def or_else(self, other: "NameParts") -> "NameParts":
        """This name with its missing parts, but for the model, taken from another."""
        return NameParts(
            *(
                mine if field == "model" else mine or theirs
                for field, mine, theirs in zip(self._fields, self, other, strict=True)
            )
        )

    def completed(self) -> "NameParts":
        """With the default scheme, host, namespace and tag."""
        return self.or_else(
            NameParts(DEFAULT_SCHEME, DEFAULT_HOST, DEFAULT_NAMESPACE, tag=DEFAULT_TAG)
        )

    def shortest(self) -> str:
        """The display form: default host and namespace are left out, the tag never is."""
        short = f"{self.model}:{self.tag}"
        if self.host.casefold() != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{short}"
        if self.namespace.casefold() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{short}"
        return short

    def is_valid(self) -> bool:
        return all(is_valid_part(kind, getattr(self, kind)) for kind in _PART)


def _cut_last(text: str, separator: str) -> tuple[str, str]:
    before, _, after = text.rpartition(separator)
    return before or MISSING, after or MISSING


def split_name(text: str) -> NameParts:
    """The parts of a name as written; nothing is checked and no default put in."""
    tag = namespace = host = ""
    if text.rfind(":") > text.rfind("/"):
        text, tag = _cut_last(text, ":")
    if "/" not in text:
        return NameParts(model=text, tag=tag)
    text, model = _cut_last(text, "/")
    if "/" not in text:
        return NameParts(namespace=text, model=model, tag=tag)
    text, namespace = _cut_last(text, "/")
    scheme, separator, host = text.partition("://")
    if not separator:
        scheme, host = "", text
    return NameParts(scheme, host, namespace, model, tag)


class ModelName(Struct, frozen=True, order=True):
    """A valid, complete model name. Case is kept; compare `folded()` to match as Ollama does."""

    host: str
    namespace: str
    model: str
    tag: str
    scheme: str = DEFAULT_SCHEME

    def __post_init__(self) -> None:
        if not self.parts().is_valid():
            raise InvalidName

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name that `text` means, defaults put in; `InvalidName` when it means none."""
        return cls.from_parts(split_name(text.strip()).completed())

    @classmethod
    def from_parts(cls, parts: NameParts) -> Self:
        return cls(parts.host, parts.namespace, parts.model, parts.tag, parts.scheme)

    def parts(self) -> NameParts:
        return NameParts(self.scheme, self.host, self.namespace, self.model, self.tag)

    def folded(self) -> tuple[str, str, str, str]:
        """What makes two names the same."""
        return (
            self.host.lower(),
            self.namespace.lower(),
            self.model.lower(),
            self.tag.lower(),
        )

    def path_parts(self) -> tuple[str, str, str, str]:
        """Host, namespace, model, tag: the manifest's path below `manifests/`."""
        return self.host, self.namespace, self.model, self.tag

    def full(self) -> str:
        """`registry.ollama.ai/library/smol:latest`."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    def __str__(self) -> str:
        """The display form, `smol:latest`."""
        return self.parts().shortest()


def name_from_path(parts: tuple[str, ...]) -> ModelName:
    """The name of a manifest at `parts` below `manifests/`; `InvalidName` when it is no manifest's."""
    if len(parts) != len(_PART):
        raise InvalidName
    host, namespace, model, tag = parts
    return ModelName(host, namespace, model, tag)
