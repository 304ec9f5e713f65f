"""Where shared fixtures lie, and nothing of the developer's home is touched."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("MLX_OLLAMA_SHARED", ROOT.parent / "shared"))
DATA = ROOT / "tests" / "data"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test never reads or writes the real home directory."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in list(os.environ):
        if name.startswith("OLLAMA_"):
            monkeypatch.delenv(name)


@pytest.fixture
def shared() -> Path:
    """The folder of large fixtures beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("no shared fixtures beside this checkout")
    return SHARED
