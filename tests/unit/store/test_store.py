import json
import os
import threading
import time
from pathlib import Path

import pytest

from mlx_ollama.api.models import ShowRequest
from mlx_ollama.errors import CorruptData, InvalidRequest, NotFound, StoreUnwritable
from mlx_ollama.store import describe, lock
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.prune import GRACE_SECONDS
from mlx_ollama.store.store import Store
from tests.fakes.models import add_model, run_create, upload

pytestmark = pytest.mark.anyio


def blob_names(store: Store) -> set[str]:
    return {path.name for path in store.blobs.folder.iterdir()}


def manifest_path(store: Store, name: str = "tiny") -> Path:
    return store.manifests.folder / "registry.ollama.ai" / "library" / name / "latest"


def age(path: Path, seconds: float = GRACE_SECONDS + 60) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


async def test_a_model_is_found_in_any_case_and_keeps_its_own(store: Store) -> None:
    await add_model(store, "Tiny")
    assert str(store.resolve("tINY:LATEST").name) == "Tiny:latest"
    await add_model(store, "TINY", system="x")
    assert [model.short_name for model in store.list()] == ["Tiny:latest"]


async def test_the_newest_model_is_listed_first(store: Store) -> None:
    await add_model(store, "old")
    await add_model(store, "new")
    age(manifest_path(store, "old"))
    assert [model.short_name for model in store.list()] == ["new:latest", "old:latest"]


def test_an_unknown_model_is_told_as_it_was_sent(store: Store) -> None:
    with pytest.raises(NotFound, match=r"^model 'no/such' not found$"):
        store.resolve("no/such")


async def test_a_copy_has_the_same_digest_and_may_replace(store: Store) -> None:
    await add_model(store, "a")
    await add_model(store, "b", system="other")
    store.copy("A", "b")
    assert store.resolve("a").digest == store.resolve("b").digest
    assert store.resolve("b").system == ""
    store.copy("a", "A")
    assert len(store.list()) == 2


@pytest.mark.parametrize(
    ("source", "destination", "text"),
    [("", "b", 'source "" is invalid'), ("a", "x y", 'destination "x y" is invalid')],
)
def test_copy_names_the_bad_side(store: Store, source: str, destination: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{text}$"):
        store.copy(source, destination)
    with pytest.raises(NotFound, match=r'^model "a" not found$'):
        store.copy("a", "b")


@pytest.mark.parametrize(
    ("target", "text"), [("", "model is required"), ("x y", 'name "x y" is invalid')]
)
def test_delete_says_what_is_wrong_with_a_name(store: Store, target: str, text: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{text}$"):
        store.delete(target)
    with pytest.raises(NotFound, match=r"^model 'a:b' not found$"):
        store.delete("a:b")


async def test_delete_leaves_what_another_model_needs_and_nothing_else(store: Store) -> None:
    await add_model(store, "base")
    await run_create(store, {"model": "child", "from": "base", "system": "s"})
    store.delete("base")
    child = store.resolve("child")
    child.check()
    for digest in {Digest(f"sha256-{n[7:]}") for n in blob_names(store)} - child.manifest.digests():
        store.blobs.path(digest).unlink()  # what was uploaded
    store.delete("child")
    assert blob_names(store) == set()
    assert list(store.manifests.folder.iterdir()) == []


async def test_replacing_a_model_removes_what_only_the_old_one_needed(store: Store) -> None:
    await add_model(store, system="one")
    old = store.resolve("tiny").manifest.of_kind("system")[0].digest
    await run_create(store, {"model": "tiny", "from": "tiny", "system": "two"})
    assert not store.blobs.has(old)
    assert store.resolve("tiny").system == "two"


async def test_nothing_is_removed_while_an_operation_goes_on(store: Store) -> None:
    await add_model(store)
    digests = store.resolve("tiny").manifest.digests()
    with store.operation():
        assert store.delete("tiny") == set()
        assert all(map(store.blobs.has, digests))
    assert not any(map(store.blobs.has, digests))


async def test_prune_removes_what_is_old_and_unneeded(store: Store) -> None:
    await add_model(store)
    old, young = await upload(store, b"old"), await upload(store, b"young")
    partial = store.blobs.folder / f"sha256-{'0' * 64}-partial"
    stranger = store.blobs.folder / "README"
    for path in (partial, stranger):
        path.write_text("x")
    for path in store.blobs.folder.iterdir():
        if path != store.blobs.path(young):
            age(path)
    store.prune()
    assert not store.blobs.has(old)
    assert not partial.exists()
    assert store.blobs.has(young)
    assert stranger.exists()
    store.resolve("tiny").check()


async def test_prune_does_nothing_while_a_manifest_cannot_be_read(store: Store) -> None:
    await add_model(store)
    orphan = await upload(store, b"orphan")
    age(store.blobs.path(orphan))
    damaged = manifest_path(store, "damaged")
    damaged.parent.mkdir()
    damaged.write_text("{")
    store.prune()
    assert store.blobs.has(orphan)


async def test_prune_does_nothing_while_another_process_writes(store: Store) -> None:
    orphan = await upload(store, b"orphan")
    age(store.blobs.path(orphan))
    with lock.shared(store.blobs.folder):
        store.prune()
    assert store.blobs.has(orphan)
    kept = Store(store.root, noprune=True)
    kept.prune()
    assert store.blobs.has(orphan)
    store.prune()
    assert not store.blobs.has(orphan)


async def test_prune_removes_uploads_that_nobody_writes_any_more(store: Store) -> None:
    with store.blobs.writer() as writer:
        writer.write(b"x")
        (dead := store.blobs.folder / "upload-0123456789abcdef.tmp").write_text("x")
        store.prune()
        assert not dead.exists()
        assert store.blobs.has(writer.commit())


async def test_prune_removes_workspaces_that_nobody_uses_any_more(store: Store) -> None:
    with store.blobs.workspace() as folder:
        dead = store.blobs.folder / "upload-0123456789abcdef.tmp"
        dead.mkdir()
        (dead / "part").write_text("x")
        store.prune()
        assert not dead.exists()
        assert folder.is_dir()
    assert list(store.blobs.folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 300, b'{"config":{"digest":"../x"}}'])
async def test_a_corrupt_manifest_is_skipped_with_a_warning(
    store: Store, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await add_model(store, "good")
    await add_model(store)
    manifest_path(store).write_bytes(content)
    assert [model.short_name for model in store.list()] == ["good:latest"]
    assert "tiny:latest" in caplog.text
    store.delete("tiny")
    store.resolve("good").check()


async def test_a_missing_or_short_blob_is_corrupt_data(store: Store) -> None:
    await add_model(store)
    path = store.blobs.path(store.resolve("tiny").manifest.of_kind("model")[0].digest)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptData, match=r"model data is corrupted .*pull or create it again"):
        store.resolve("tiny")
    path.unlink()
    with pytest.raises(CorruptData):
        store.resolve("tiny")
    assert store.list() == []


HOSTILE_JSON = {
    "no text": b'{"model_format": "\xff"}',
    "deep": b'{"a":' * 5000,
    "a list": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("content", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
@pytest.mark.parametrize("place", ["config", "params"])
async def test_a_layer_that_is_no_json_costs_only_its_model(
    store: Store, place: str, content: bytes
) -> None:
    await add_model(store, "good")
    await add_model(store, parameters={"seed": 1})
    tiny = store.resolve("tiny").manifest
    layer = tiny.config if place == "config" else tiny.of_kind("params")[0]
    stored = json.loads(manifest_path(store).read_bytes())
    for one in (stored["config"], *stored["layers"]):
        if one["digest"] == layer.digest:
            one |= {"digest": await upload(store, content), "size": len(content)}
    manifest_path(store).write_text(json.dumps(stored))
    with pytest.raises(CorruptData, match=r"model data is corrupted"):
        describe.show(store, ShowRequest(model="tiny"))
    assert "good:latest" in [model.name for model in describe.tags(store).models]


async def test_links_among_the_manifests_are_not_followed(store: Store, tmp_path: Path) -> None:
    await add_model(store)
    outside = tmp_path / "outside"
    manifest_path(store).rename(outside)
    manifest_path(store).symlink_to(outside)
    (store.manifests.folder / "host").symlink_to(tmp_path)
    assert store.list() == []
    with pytest.raises(NotFound):
        store.resolve("tiny")
    await add_model(store, "other")
    with pytest.raises(StoreUnwritable, match="symbolic links"):
        store.copy("other", "host/name/space")
    store.copy("other", "tiny")
    assert not outside.is_symlink()
    assert not manifest_path(store).is_symlink()


async def test_files_that_are_no_models_are_passed_over(store: Store) -> None:
    await add_model(store)
    (store.manifests.folder / ".DS_Store").write_text("x")
    (manifest_path(store).parent / ".hidden").write_text("x")
    (manifest_path(store).parent / "deeper").mkdir()
    assert len(store.list()) == 1


def test_an_absent_store_is_empty_and_stays_absent(store: Store) -> None:
    store.prune()
    assert store.list() == []
    with pytest.raises(NotFound):
        store.delete("x")
    assert not store.root.exists()


async def test_many_may_copy_and_delete_at_once(store: Store) -> None:
    await add_model(store, "base")
    troubles: list[Exception] = []

    def work(number: int) -> None:
        for step in range(12):
            try:
                store.copy("base", f"m{(number + step) % 3}")
                store.list()
                store.delete(f"m{step % 3}")
            except NotFound:
                pass  # another was faster
            except Exception as error:
                troubles.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    for model in store.list():
        assert all(store.blobs.hash(digest) == digest for digest in model.manifest.digests())
