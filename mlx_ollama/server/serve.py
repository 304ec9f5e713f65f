"""The server process: sockets, services and the loop that all of them share."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import AsyncGenerator, Generator
from types import FrameType

import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp

from mlx_ollama import __version__
from mlx_ollama.config import Settings
from mlx_ollama.conversion import Conversions
from mlx_ollama.create.imported import importer
from mlx_ollama.inference.models import Models
from mlx_ollama.registry.transfers import Transfers
from mlx_ollama.server.app import create_app
from mlx_ollama.server.guard import GuardedProtocol
from mlx_ollama.server.services import Services
from mlx_ollama.store.store import Store
from mlx_ollama.supervisor.spec import Limits
from mlx_ollama.supervisor.supervisor import Supervisor

logger = logging.getLogger(__name__)
BACKLOG = 1024
GRACE_SECONDS = 5  # for answers under way when the server is told to end
WANTED_FILES = 8192


class PortInUse(Exception):
    """The address is taken or not ours; the text is for the terminal."""


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Listening sockets; the default address also in IPv6, because macOS looks localhost up there first."""
    host = "127.0.0.1" if host == "localhost" else host
    try:
        sockets = [_listen(host, port)]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PortInUse(f"listen tcp {_shown(host, port)}: bind: {reason}") from error
    if host == "127.0.0.1":
        with contextlib.suppress(OSError):
            sockets.append(_listen("::1", sockets[0].getsockname()[1]))
    return sockets


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host != "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Server(uvicorn.Server):
    """Signals ask it to end; they are not raised again afterwards, so the exit status is ours.

    Told to end, it stops listening, lets answers finish for `GRACE_SECONDS`, and then tells their clients.
    """

    def __init__(self, config: uvicorn.Config, supervisor: Supervisor) -> None:
        super().__init__(config)
        self._supervisor = supervisor
        self._closing: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal does not wait for anybody."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._supervisor.close(GRACE_SECONDS))
        else:
            self.force_exit = True
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()
        handled = (signal.SIGINT, signal.SIGTERM)
        for number in handled:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)


async def serve(settings: Settings) -> None:
    """Serve until a signal. `PortInUse` before anything was started."""
    sockets = open_sockets(settings.host, settings.port)
    _allow_many_files()
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        logger.info("listening on %s (version %s)", _shown(host, port), __version__)
    _warn(settings)
    await http_server(make_services(settings)).serve(sockets=sockets)


def http_server(services: Services) -> Server:
    """What serves those services; `should_exit` ends it, and their supervisor with it."""
    app = create_app(services, _lifespan(services))
    return Server(_uvicorn_config(app), services.supervisor)


def _warn(settings: Settings) -> None:
    for problem in settings.problems:
        logger.warning("%s", problem)
    if not settings.is_loopback:
        logger.warning(
            "bound to %s: everyone who reaches this address can use and change the models",
            settings.host,
        )


def make_services(settings: Settings, limits: Limits | None = None) -> Services:
    """Everything that the handlers work with; inside the running loop."""
    store = Store(settings.models, settings.cache, noprune=settings.noprune)
    conversions = Conversions(settings.cache, max_bytes=settings.cache_limit)
    store.on_removed.append(conversions.forget)
    supervisor = Supervisor(limits or _limits(settings))
    return Services(
        settings=settings,
        store=store,
        conversions=conversions,
        supervisor=supervisor,
        transfers=Transfers(store, importer=importer(store, conversions)),
        models=Models(settings, store, conversions, supervisor),
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_loaded=settings.max_loaded_models,
        max_queue=settings.max_queue,
        parallel=settings.num_parallel,
        keep_alive=settings.keep_alive,
        load_timeout=settings.load_timeout,
        openblas=settings.openblas,
    )


def _lifespan(services: Services):
    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncGenerator[None, None]:
        await asyncio.to_thread(services.store.prune)
        try:
            yield
        finally:
            await services.supervisor.close()

    return lifespan


def _uvicorn_config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=GRACE_SECONDS + 1,  # for the last words of those that did not
        backlog=BACKLOG,
    )


def _allow_many_files() -> None:
    """launchd starts a process with 256 files; each client needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
