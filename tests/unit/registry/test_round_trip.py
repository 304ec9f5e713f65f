"""Against a real registry."""

import asyncio
import itertools
from contextlib import aclosing

import pytest

from mlx_ollama.api.models import Progress
from mlx_ollama.errors import NotFound, UpstreamError
from mlx_ollama.registry import upload
from mlx_ollama.registry.download import Downloads, Pace
from mlx_ollama.registry.pull import pull
from mlx_ollama.store.blobs import Digest
from mlx_ollama.store.manifests import Manifest
from mlx_ollama.store.names import ModelName
from tests.fakes.registry import Fault, FaultProxy
from tests.unit.registry.conftest import Side, statuses

pytestmark = pytest.mark.anyio
_numbers = itertools.count()


@pytest.fixture
def repository() -> str:
    """A name that no other test has."""
    return f"library/m{next(_numbers)}"


async def test_what_is_pushed_comes_back_byte_for_byte(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    name = f"{registry}/{repository}:v1"
    manifest = here.make(name)
    pushed = await here.push(name)
    pulled = await there.pull(name)
    short = [digest.hex[:12] for digest in _digests(manifest)]
    assert statuses(pushed) == [
        "retrieving manifest", *(f"pushing {one}" for one in short), "pushing manifest", "success",
    ]  # fmt: skip
    assert statuses(pulled) == [
        "pulling manifest", *(f"pulling {one}" for one in short),
        "verifying sha256 digest", "writing manifest", "success",
    ]  # fmt: skip
    assert there.manifest_bytes(name) == here.manifest_bytes(name)
    assert there.is_whole(name)


def _digests(manifest: Manifest) -> list[Digest]:
    return [*(layer.digest for layer in manifest.layers), manifest.config.digest]


async def test_many_small_layers_have_one_bar(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    name = f"{registry}/{repository}"
    manifest = here.make_tensors(name)
    pushed, pulled = await here.push(name), await there.pull(name)
    assert statuses(pushed) == [
        "retrieving manifest",
        "pushing model",
        "pushing manifest",
        "success",
    ]
    assert statuses(pulled) == ["pulling manifest", "pulling model", "writing manifest", "success"]
    last = [line for line in pulled if line.digest][-1]
    assert (last.digest, last.completed, last.total) == (
        "sha256:model",
        manifest.size,
        manifest.size,
    )
    assert there.is_whole(name)


async def test_what_is_here_already_is_one_line_each(
    registry: str, repository: str, here: Side
) -> None:
    name = f"{registry}/{repository}"
    here.make(name)
    await here.push(name)
    again, pulled = await here.push(name), await here.pull(name)
    for lines in (again, pulled):
        bars = [line for line in lines if line.digest]
        assert len(bars) == 3
        assert all(line.completed == line.total for line in bars)
        assert lines[-1] == Progress(status="success")


async def test_a_damaged_blob_is_repaired_by_pulling_again(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    name = f"{registry}/{repository}"
    manifest = here.make(name)
    await here.push(name)
    await there.pull(name)
    path = there.store.blobs.path(manifest.layers[0].digest)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    await there.pull(name)
    assert there.is_whole(name)


async def test_a_new_version_replaces_the_old_and_its_layers_go(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    name = f"{registry}/{repository}"
    old = here.make(name, seed=1)
    await here.push(name)
    await there.pull(name)
    here.make(name, seed=2)
    await here.push(name)
    lines = await there.pull(name)
    assert statuses(lines)[-3:] == ["writing manifest", "removing unused layers", "success"]
    assert not there.store.blobs.has(old.layers[0].digest)
    assert there.is_whole(name)


async def test_absent_models_are_named_as_ollama_does(
    registry: str, repository: str, here: Side
) -> None:
    with pytest.raises(UpstreamError, match=r"^pull model manifest: file does not exist$"):
        await here.pull(f"{registry}/{repository}")
    with pytest.raises(NotFound):
        await here.push(f"{registry}/{repository}")


async def test_without_insecure_plain_http_is_refused_in_gos_words(
    registry: str, repository: str, here: Side
) -> None:
    here.access = type(here.access)(home=here.folder)
    url = f"https://{registry}/v2/{repository}/manifests/latest"
    with pytest.raises(UpstreamError) as error:
        await here.pull(f"http://{registry}/{repository}")
    assert str(error.value) == (
        f'pull model manifest: Get "{url}": http: server gave HTTP response to HTTPS client'
    )


# ---- faults


async def proxied(proxy: FaultProxy, registry: str, repository: str, here: Side, size: int) -> str:
    """A model in the real registry; its name through the proxy, whose faults will hit its weights."""
    manifest = here.make(f"{registry}/{repository}", size=size)
    await here.push(f"{registry}/{repository}")
    proxy.blob = manifest.layers[0].digest
    return f"{proxy.host}/{repository}"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("reset", at=1000),
        Fault("close", at=1000),
        Fault("close", at=0),
        Fault("stall", at=1000),
        Fault("silence"),
        Fault("status", status=500),
        Fault("status", status=429),
        Fault("status", status=503, times=3),
        Fault("shifted"),
        Fault("whole", times=-1),
        Fault("flipped", at=3, times=0),
    ],
    ids=str,
)
async def test_a_download_survives_faults_of_its_blobs(
    fault: Fault, registry: str, repository: str, here: Side, there: Side
) -> None:
    async with FaultProxy(registry).running() as proxy:
        name = await proxied(proxy, registry, repository, here, 50_000)
        proxy.faults = [fault]
        lines = await there.pull(name)
    counts = [line.completed for line in lines if line.total == 50_000]
    assert counts == sorted(counts)
    assert there.is_whole(name)
    assert not [file for file in there.files() if ".part" in file]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("status", status=404, times=-1), "404: not found"),
        (Fault("status", status=403, times=-1), "unauthorized: access denied"),
        (Fault("status", status=500, times=-1), "max retries exceeded: 500"),
        (Fault("reset", at=0, times=-1), "max retries exceeded"),
        (Fault("html", times=-1), "another size"),
        (Fault("loop", times=-1), "too many redirects"),
        (Fault("flipped", at=7, times=-1), "digest mismatch"),
    ],
    ids=str,
)
async def test_a_fault_that_stays_ends_the_pull_with_its_cause(
    fault: Fault, message: str, registry: str, repository: str, here: Side, there: Side
) -> None:
    async with FaultProxy(registry).running() as proxy:
        name = await proxied(proxy, registry, repository, here, 50_000)
        proxy.faults = [fault]
        with pytest.raises(UpstreamError, match=message) as error:
            await there.pull(name)
        assert "SECRET" not in str(error.value)
        assert not there.store.manifests.existing(ModelName.parse(name))
        proxy.faults = []
        await there.pull(name)
    assert there.is_whole(name)


@pytest.mark.parametrize("status", [500, 412, 403])
async def test_a_manifest_that_is_refused_gives_the_status_only(
    status: int, registry: str, repository: str, there: Side
) -> None:
    async with FaultProxy(registry).running() as proxy:
        proxy.faults = [Fault("status", where="/manifests/", status=status)]
        with pytest.raises(UpstreamError, match=r"^pull model manifest: ") as error:
            await there.pull(f"{proxy.host}/{repository}")
    assert "SECRET" not in str(error.value)


async def test_an_interrupted_download_goes_on_where_it_was(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    size = 80_000
    async with FaultProxy(registry).running() as proxy:
        name = await proxied(proxy, registry, repository, here, size)
        for at in (1, 1500, 4095, 4096, 9000):
            proxy.faults = [Fault("stall", at=at)]
            proxy.reached.clear()
            task = asyncio.create_task(there.pull(name))
            await proxy.reached.wait()
            task.cancel()
            async with asyncio.timeout(1):
                await asyncio.wait([task])
        proxy.faults = []
        await there.pull(name)
        assert there.is_whole(name)
        moved = [request.range for request in proxy.requests if request.range]
        starts = [span[0] for span in moved if span[1] - span[0] > 1000]
        assert proxy.sent_bytes < 2 * size
        assert len(starts) >= size // 4096


async def test_two_who_pull_the_same_share_one_download(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    async with FaultProxy(registry).running() as proxy:
        name = await proxied(proxy, registry, repository, here, 90_000)
        proxy.sent_bytes = 0
        first, second = await asyncio.gather(there.pull(name), there.pull(name))
        assert first[-1] == second[-1] == Progress(status="success")
        assert proxy.sent_bytes < 95_000


async def test_one_may_leave_and_the_other_finishes(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    async with FaultProxy(registry).running() as proxy:
        name = await proxied(proxy, registry, repository, here, 90_000)
        proxy.faults = [Fault("stall", at=100)]
        leaver = asyncio.create_task(there.pull(name))
        stayer = asyncio.create_task(there.pull(name))
        await proxy.reached.wait()
        leaver.cancel()
        assert (await stayer)[-1] == Progress(status="success")
        assert there.is_whole(name)


async def test_a_blob_with_the_wrong_bytes_is_not_kept(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    async with FaultProxy(registry).running() as proxy:
        name = await proxied(proxy, registry, repository, here, 3000)
        proxy.faults = [Fault("flipped", at=7, times=-1)]
        with pytest.raises(UpstreamError, match="digest mismatch, file must be downloaded again"):
            await there.pull(name)
    assert there.files() == []


async def test_a_damaged_partial_is_begun_anew(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    async with FaultProxy(registry).running() as proxy:
        name = await proxied(proxy, registry, repository, here, 50_000)
        proxy.faults = [Fault("stall", at=100, where="/blobs/", times=1)]
        task = asyncio.create_task(there.pull(name))
        await proxy.reached.wait()
        task.cancel()
        await asyncio.wait([task])
        (partial,) = there.store.blobs.folder.glob("*.part")
        partial.write_bytes(bytes(50_000))
        await there.pull(name)
    assert there.is_whole(name)


# ---- pushing through faults


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", where="/blobs/uploads/", status=503, times=1),
        Fault("reset", where="_state", at=0),
    ],
    ids=str,
)
async def test_a_push_survives_faults(
    fault: Fault,
    registry: str,
    repository: str,
    here: Side,
    there: Side,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upload, "CHUNK_BYTES", 20_000)
    async with FaultProxy(registry).running() as proxy:
        name = f"{proxy.host}/{repository}"
        here.make(name, size=90_000)
        proxy.faults = [fault]
        assert (await here.push(name))[-1] == Progress(status="success")
    await there.pull(f"{registry}/{repository}")
    assert there.is_whole(f"{registry}/{repository}")


# ---- pace


async def test_closing_the_lines_stops_the_download(
    registry: str, repository: str, here: Side, there: Side
) -> None:
    downloads = Downloads(there.store.blobs, Pace(min_part_bytes=4096, max_part_bytes=4096))
    async with FaultProxy(registry).running() as proxy:
        name = await proxied(proxy, registry, repository, here, 90_000)
        proxy.faults = [Fault("stall", at=100, times=-1)]
        async with aclosing(
            pull(there.store, downloads, ModelName.parse(name), there.access)
        ) as lines:
            async for line in lines:
                if line.digest:
                    break
        running = [task.get_name() for task in asyncio.all_tasks()]
        assert not [task for task in running if task.startswith("download")]
