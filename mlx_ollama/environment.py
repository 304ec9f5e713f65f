"""The checkout's own virtual environment, made when it is missing or out of date. Standard library only.

Invariant: the stamp inside the environment is written last, so an interrupted installation is repeated.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "mlx-ollama.stamp"
MINIMUM_PYTHON = (3, 11)


def python() -> Path:
    """The environment's interpreter."""
    return ENVIRONMENT / "bin" / "python"


def wanted_stamp(group: str) -> str:
    """Changes whenever what must be installed does."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return f"{group} {digest.hexdigest()} {sys.version_info[:2]}\n"


def is_ready(group: str) -> bool:
    """A development environment also serves a user's purposes."""
    if not (python().exists() and STAMP.exists()):
        return False
    return STAMP.read_text() in {wanted_stamp(group), wanted_stamp("dev")}


def make(group: str = "") -> None:
    """Create the environment and install the project, with a dependency group if one is named."""
    if sys.version_info < MINIMUM_PYTHON:
        raise SystemExit("mlx-ollama needs Python 3.11 or newer")
    print(f"installing into {ENVIRONMENT.name}/ (once, about a minute) …", file=sys.stderr)  # noqa: T201
    if not python().exists():
        venv.EnvBuilder(with_pip=True, clear=ENVIRONMENT.exists()).create(ENVIRONMENT)
    pip = [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pinned = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)  # --group needs a recent pip
    chosen = ["--group", f"{ROOT / 'pyproject.toml'}:{group}"] if group else []
    subprocess.run([*pip, *pinned, *chosen, "--editable", str(ROOT)], check=True)
    STAMP.write_text(wanted_stamp(group))


def enter(module: str, group: str = "") -> None:
    """Run `module` under the environment's interpreter, unless this is it already and all is installed."""
    if not is_ready(group):
        try:
            make(group)
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"the installation failed: {error}") from None
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        os.chdir(ROOT)
        os.execv(python(), [str(python()), "-m", module, *sys.argv[1:]])  # noqa: S606
