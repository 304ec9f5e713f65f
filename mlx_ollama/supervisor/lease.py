"""A place on a runner for as long as one client's request takes."""

from collections.abc import AsyncGenerator

from mlx_ollama.ipc.messages import Chat, Delta, Done, Embed, Generate, Loaded, Progress, Rendered, Vectors

Event = Progress | Delta | Done | Rendered | Vectors


class Lease:
    """`loaded` says what the runner got; `load_duration` is nanoseconds from asking until it was ready."""

    loaded: Loaded
    load_duration: int

    def request(self, message: Chat | Generate | Embed) -> AsyncGenerator[Event, None]:
        """Events up to and with the last (`Done`, `Rendered` or `Vectors`); `message.id` is given here.

        A runner's `Fault` is raised: `invalid` and `not_implemented` as InvalidRequest, `busy` as Busy, `failed`
        as MlxOllamaError. A runner that ends before its answer: retried once on a fresh one when nothing but
        Progress was handed out, else RunnerStopped. Canceled when the client read too slowly.
        Leaving the iterator or the lease early aborts the request.
        """
        raise NotImplementedError
