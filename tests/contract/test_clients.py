"""The official Python client against our server; a fake runner gives the answers."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import ollama
import pytest

from tests.fakes.runner import Script
from tests.fakes.site import Site, site

pytestmark = [pytest.mark.anyio, pytest.mark.contract]
HELLO = [{"role": "user", "content": "hello"}]


@asynccontextmanager
async def served(
    folder: Path, script: Script | None = None
) -> AsyncGenerator[tuple[ollama.AsyncClient, Site], None]:
    """The client, and the site that it speaks to."""
    async with site(folder, script) as place:
        client = ollama.AsyncClient(host=f"http://127.0.0.1:{place.port}")
        try:
            yield client, place
        finally:
            await client.close()


async def test_chat(tmp_path: Path) -> None:
    async with served(tmp_path, Script(say=["Hel", "lo"])) as (client, _):
        whole = await client.chat(model="m", messages=HELLO, options={"mirostat": 1})
        assert (whole.message.content, whole.done_reason) == ("Hello", "stop")
        chunks = [chunk async for chunk in await client.chat("m", HELLO, stream=True)]
        assert "".join(chunk.message.content or "" for chunk in chunks) == "Hello"
        assert chunks[-1].eval_count


async def test_generate(tmp_path: Path) -> None:
    async with served(tmp_path, Script(say=["Hel", "lo"])) as (client, _):
        assert (await client.generate("m", "x", keep_alive=-1)).response == "Hello"
        running = (await client.ps()).models
        assert [model.model for model in running] == ["m:latest"]
        assert running[0].expires_at is not None
        assert running[0].expires_at.year > 2300


async def test_embeddings(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, _):
        assert (await client.embed("m", "x")).embeddings == [[1.0, 0.0, 0.0]]
        assert (await client.embeddings("m", "x")).embedding == [1.0, 0.0, 0.0]


async def test_models_are_listed_shown_copied_and_deleted(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, _):
        await client.copy("m", "copy")
        assert [model.model for model in (await client.list()).models] == [
            "copy:latest",
            "m:latest",
        ]
        assert (await client.show("copy")).capabilities == ["completion"]
        await client.delete("copy")
        with pytest.raises(ollama.ResponseError, match="model 'copy' not found") as failure:
            await client.delete("copy")
        assert failure.value.status_code == 404


async def test_a_model_is_created_from_another(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, _):
        lines = [
            line async for line in await client.create("n", from_="m", system="be", stream=True)
        ]
        assert lines[-1].status == "success"
        assert "SYSTEM be" in ((await client.show("n")).modelfile or "")


async def test_a_blob_is_uploaded_in_chunks(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"hello")
    async with served(tmp_path) as (client, place):
        digest = await client.create_blob(tmp_path / "blob")
        assert (await place.client.head(f"/api/blobs/{digest}")).status_code == 200


async def test_an_error_in_a_stream_is_an_exception(tmp_path: Path) -> None:
    async with served(tmp_path, Script(trouble="fault", after=1)) as (client, _):
        with pytest.raises(ollama.ResponseError, match="it went wrong"):
            async for _ in await client.chat("m", HELLO, stream=True):
                pass


async def test_an_unknown_model_is_not_found(tmp_path: Path) -> None:
    async with served(tmp_path) as (client, _):
        with pytest.raises(ollama.ResponseError, match="model 'no' not found") as failure:
            await client.chat("no", HELLO)
        assert failure.value.status_code == 404
