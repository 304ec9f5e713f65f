"""Models as the API tells of them: entries of tags, answers of show."""

from mlx_ollama.api.models import Details, ListResponse, ShowRequest, ShowResponse
from mlx_ollama.store.model import Model
from mlx_ollama.store.store import Store


def details(model: Model) -> Details:
    """Contract 3.12, as show has it; for ps clear `parent_model`."""
    raise NotImplementedError


def tags(store: Store) -> ListResponse:
    """Contract 12. Blocks: < 50 ms for 200 names once they are known."""
    raise NotImplementedError


def show(store: Store, request: ShowRequest, *, user_agent: str = "") -> ShowResponse:
    """Contract 14, errors included (`InvalidRequest`, `InvalidName`, `NotFound`). Blocks: reads headers."""
    raise NotImplementedError


def capabilities(store: Store, model: Model) -> list[str]:
    """Contract 6.2, in derivation order. Blocks when the model's weights were never looked at."""
    raise NotImplementedError
