import asyncio
import hashlib
import os
import shutil
from contextlib import aclosing
from pathlib import Path

import pytest

from mlx_ollama import conversion
from mlx_ollama.conversion import Conversions, Source, cache_key
from mlx_ollama.errors import InvalidRequest
from mlx_ollama.ipc.messages import Load, Progress

pytestmark = pytest.mark.anyio
LOAD = Load(model="m", digest="d")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def gguf(shared: Path) -> Path:
    return shared / "zoo" / "llama" / "model-f16.gguf"


def source(path: Path, name: str = "") -> Source:
    return Source(gguf=(path,), digests=(name or path.name,))


async def prepare(conversions: Conversions, what: Source) -> tuple[list[Progress], Load]:
    async with aclosing(conversions.prepare(LOAD, what)) as steps:
        *progress, last = [step async for step in steps]
    assert isinstance(last, Load)
    return [step for step in progress if isinstance(step, Progress)], last


def weights(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "weights").iterdir())


async def test_weights_are_made_once_and_found_afterwards(tmp_path: Path, gguf: Path) -> None:
    conversions = Conversions(tmp_path)
    progress, first = await prepare(conversions, source(gguf))
    assert progress[-1].completed == progress[-1].total > 0
    assert (Path(first.directory) / "config.json").is_file()
    assert first.model == LOAD.model
    again, second = await prepare(Conversions(tmp_path), source(gguf))
    assert again == []
    assert second == first


async def test_all_who_want_the_same_weights_share_one_conversion(
    tmp_path: Path, gguf: Path
) -> None:
    conversions = Conversions(tmp_path)
    results = await asyncio.gather(*(prepare(conversions, source(gguf)) for _ in range(4)))
    assert len({load.directory for _, load in results}) == 1
    assert all(progress for progress, _ in results)


async def test_one_may_leave_and_the_other_gets_its_weights(tmp_path: Path, gguf: Path) -> None:
    conversions = Conversions(tmp_path)
    leaver = conversions.prepare(LOAD, source(gguf))
    await anext(leaver)
    stayer = asyncio.create_task(prepare(conversions, source(gguf)))
    await asyncio.sleep(0)
    await leaver.aclose()
    assert (await stayer)[1].directory


async def test_a_conversion_nobody_waits_for_ends_and_leaves_nothing(
    tmp_path: Path, gguf: Path
) -> None:
    conversions = Conversions(tmp_path)
    leaver = conversions.prepare(LOAD, source(gguf))
    while True:
        step = await anext(leaver)
        if isinstance(step, Progress) and list((tmp_path / "weights").glob(".*")):
            break
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "conversion")
    await leaver.aclose()
    await asyncio.wait([task])
    assert task.cancelled()
    assert weights(tmp_path) == []


async def test_a_conversion_begun_while_the_last_one_is_being_ended_succeeds(
    tmp_path: Path, gguf: Path
) -> None:
    conversions = Conversions(tmp_path)
    leaver = conversions.prepare(LOAD, source(gguf))
    await anext(leaver)
    await leaver.aclose()
    assert (await prepare(conversions, source(gguf)))[1].directory


async def test_a_bad_source_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(InvalidRequest):
        await prepare(Conversions(tmp_path / "cache"), source(bad))
    assert weights(tmp_path / "cache") == []


async def test_a_full_disk_means_loading_without_the_cache(
    tmp_path: Path, gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda _: free)
    _, load = await prepare(Conversions(tmp_path), source(gguf))
    assert load.gguf == [str(gguf)]
    assert load.directory == ""


async def test_a_cache_that_cannot_be_made_means_loading_without(
    tmp_path: Path, gguf: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    _, load = await prepare(Conversions(tmp_path / "file"), source(gguf))
    assert load.gguf == [str(gguf)]


async def test_a_model_over_the_caps_limit_is_loaded_without(tmp_path: Path, gguf: Path) -> None:
    _, load = await prepare(Conversions(tmp_path, max_bytes=1000), source(gguf))
    assert load.gguf == [str(gguf)]


def age_and_fill(folder: Path, seconds: int, padding: int) -> None:
    (folder / "padding").write_bytes(bytes(padding))
    os.utime(folder, (0, folder.stat().st_mtime - seconds))


async def test_the_weights_unused_longest_make_room(tmp_path: Path, gguf: Path) -> None:
    cap = 8_000_000
    conversions = Conversions(tmp_path, max_bytes=cap)
    folders: list[Path] = []
    for index, age in enumerate((300, 500)):
        _, load = await prepare(conversions, source(gguf, f"model {index}"))
        folders.append(Path(load.directory))
        age_and_fill(folders[-1], age, cap // 2)
    _, newest = await prepare(conversions, source(gguf, "model 2"))
    kept = [folder.name for folder in (folders[0], Path(newest.directory))]
    assert weights(tmp_path) == sorted(kept)


async def test_what_a_killed_converter_left_is_swept(tmp_path: Path, gguf: Path) -> None:
    abandoned = tmp_path / "weights" / ".key.partial-999999999"
    abandoned.mkdir(parents=True)
    await prepare(Conversions(tmp_path), source(gguf))
    assert not abandoned.exists()


def test_the_key_depends_on_every_input_and_their_order() -> None:
    keys = {cache_key(digests) for digests in (["a"], ["a", "b"], ["b", "a"], ["c"])}
    assert len(keys) == 4


def digest_of(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


async def test_weights_go_with_the_files_they_were_made_of(tmp_path: Path, gguf: Path) -> None:
    conversions = Conversions(tmp_path)
    await prepare(conversions, source(gguf))
    conversions.forget(["sha256:" + "0" * 64])
    assert len(weights(tmp_path)) == 1
    conversions.forget([digest_of(gguf)])
    assert weights(tmp_path) == []
