"""What the handlers work with, made once at start."""

from msgspec import Struct

from mlx_ollama.config import Settings
from mlx_ollama.conversion import Conversions
from mlx_ollama.inference.models import Models
from mlx_ollama.registry.transfers import Transfers
from mlx_ollama.server.bodies import Call
from mlx_ollama.store.store import Store
from mlx_ollama.supervisor.supervisor import Supervisor


class Services(Struct, kw_only=True, frozen=True):
    """`models` is how inference reaches all the others."""

    settings: Settings
    store: Store
    conversions: Conversions
    supervisor: Supervisor
    transfers: Transfers
    models: Models


def services_of(request: Call) -> Services:
    """Those of the application that serves a request."""
    return request.app.state.services
