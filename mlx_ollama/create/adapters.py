"""LoRA adapters of a create request to layers."""

from collections.abc import Iterator

from mlx_ollama.api.models import Progress
from mlx_ollama.create.checks import check_file_names
from mlx_ollama.create.draft import Draft
from mlx_ollama.create.gguf import read_gguf
from mlx_ollama.errors import InvalidRequest


def add_adapters(draft: Draft, files: dict[str, str]) -> Iterator[Progress]:
    """The one GGUF adapter of a request; it takes the place of an inherited one."""
    if not files:
        return
    check_file_names(files)
    if any(name.endswith(".safetensors") for name in files):
        raise InvalidRequest("safetensors adapters are not supported yet")
    if len(files) > 1:
        raise InvalidRequest("only one adapter is currently supported")
    digest, contents = read_gguf(draft.blobs, next(iter(files.values())))
    if contents is None or contents.metadata.get("general.type") != "adapter":
        raise InvalidRequest("supplied file is not an adapter")
    draft.remove("adapter")
    yield draft.add_blob("adapter", digest)
