"""`python3 -m tests`: install what is missing, then every check and test. Arguments go to pytest.

Needs nothing but Python; on Debian-like machines, as root, it also installs the fast BLAS and the container registry
that some tests use, and fetches the quickstart's model. What it cannot have, it does without: those tests are skipped.
"""

import os
import shutil
import subprocess
import sys

from mlx_ollama import environment, quickstart

PACKAGES = ("libopenblas0-pthread", "docker-registry")
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


def fetch_model() -> None:
    """The model that the recorded exchanges are played with; tests find it where the quickstart keeps it."""
    try:
        quickstart.model_file()
    except (OSError, subprocess.CalledProcessError, StopIteration) as error:
        print(f"the model could not be fetched ({error}); the tests that need it are skipped")


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
    fetch_model()
    for check in CHECKS:
        run(*check)
    run("pytest", "-n", "2", "-m", "not metal", *sys.argv[1:])


if __name__ == "__main__":
    main()
