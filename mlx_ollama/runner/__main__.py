"""`python -m mlx_ollama.runner FD`: one model's process, started by the supervisor with its end of a socketpair."""

import logging
import os
import socket
import sys
import threading

from mlx_ollama import logs
from mlx_ollama.runner.engine_thread import ENGINE_FAILED
from mlx_ollama.runner.runner import Runner

# The engine's thread must get the interpreter back quickly from text work (a tenth of the default).
SWITCH_SECONDS = 0.0005


def main() -> None:
    """Serve the inherited socket whose descriptor is the only argument."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        raise SystemExit("usage: python -m mlx_ollama.runner FD (started by mlx-ollama serve)")
    sys.setswitchinterval(SWITCH_SECONDS)
    logs.configure(debug=bool(os.environ.get("OLLAMA_DEBUG")))
    threading.excepthook = _end_with_a_reason
    Runner(socket.socket(fileno=int(sys.argv[1]))).run()


def _end_with_a_reason(failed: threading.ExceptHookArgs) -> None:
    """A runner that has lost one of its threads would hang; its end is noticed at once."""
    logging.getLogger(__name__).error("a thread of the runner failed", exc_info=failed.exc_value)
    os._exit(ENGINE_FAILED)


if __name__ == "__main__":
    main()
