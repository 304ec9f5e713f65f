"""What a client reads of chat and generate, and of their errors, streamed and not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.runner import Script
from tests.fakes.site import site

pytestmark = pytest.mark.anyio
METRICS = [
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
]
HELLO = {"messages": [{"role": "user", "content": "hello"}]}


async def test_a_chat_is_streamed_word_by_word(tmp_path: Path) -> None:
    async with site(tmp_path, Script(say=["Hel", "lo"])) as place:
        *words, last = await place.lines("/api/chat", model="m", **HELLO)
    assert [line["message"] for line in words] == [
        {"role": "assistant", "content": "Hel"},
        {"role": "assistant", "content": "lo"},
    ]
    assert all(set(line) == {"model", "created_at", "message", "done"} for line in words)
    assert last["message"] == {"role": "assistant", "content": ""}
    assert (last["done"], last["done_reason"]) == (True, "stop")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_metrics_are_whole_positive_and_add_up(
    tmp_path: Path, path: str, stream: bool
) -> None:
    async with site(tmp_path) as place:
        lines = await place.lines(path, model="m", stream=stream, prompt="hello", **HELLO)
    last = lines[-1]
    assert all(isinstance(last[name], int) and last[name] > 0 for name in METRICS)
    parts = last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    assert parts <= last["total_duration"]


async def test_without_a_stream_one_object_has_all_the_text(tmp_path: Path) -> None:
    async with site(tmp_path, Script(say=["<a>", "&b"])) as place:
        answer = await place.post("/api/generate", model="m", prompt="x", stream=False)
    assert answer.json()["response"] == "<a>&b"
    assert b"\\u003ca\\u003e\\u0026b" in answer.content
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert not answer.content.endswith(b"\n")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "empty"), [("/api/chat", "message"), ("/api/generate", "response")]
)
async def test_loading_and_unloading_answer_one_object(
    tmp_path: Path, path: str, empty: str, stream: bool
) -> None:
    async with site(tmp_path) as place:
        loaded = await place.post(path, model="m", stream=stream)
        assert loaded.headers["content-type"] == "application/json; charset=utf-8"
        assert set(loaded.json()) == {"model", "created_at", empty, "done", "done_reason"}
        assert loaded.json()["done_reason"] == "load"
        assert [m["name"] for m in (await place.client.get("/api/ps")).json()["models"]] == [
            "m:latest"
        ]
        unloaded = await place.post(path, model="m", stream=stream, keep_alive=0)
        assert unloaded.json()["done_reason"] == "unload"
        await place.runner_ended()


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_before_the_first_word_has_its_status(tmp_path: Path, stream: bool) -> None:
    async with site(tmp_path, Script(trouble="busy")) as place:
        answer = await place.post("/api/chat", model="m", stream=stream, **HELLO)
    assert (answer.status_code, answer.json()) == (503, {"error": "come back later"})


async def test_an_error_after_the_first_word_is_the_last_line(tmp_path: Path) -> None:
    async with site(tmp_path, Script(trouble="fault", after=1)) as place:
        first, last = await place.lines("/api/chat", model="m", **HELLO)
    assert first["message"]["content"] == "Hello"
    assert last == {"error": "it went wrong"}


async def test_a_runner_that_dies_in_mid_stream_is_an_error_line(tmp_path: Path) -> None:
    async with site(tmp_path, Script(trouble="crash", after=2)) as place:
        lines = await place.lines("/api/generate", model="m", prompt="x")
    assert [line.get("response") for line in lines] == ["Hello", " there", None]
    assert "model runner has unexpectedly stopped" in lines[-1]["error"]


async def test_a_runner_that_dies_before_it_spoke_costs_nothing(tmp_path: Path) -> None:
    script = Script(trouble="crash", after=0, marker=str(tmp_path / "marker"))
    async with site(tmp_path, script) as place:
        answer = await place.post("/api/generate", model="m", prompt="x", stream=False)
    assert answer.json()["response"] == "Hello there."


async def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    script = Script(load_trouble="wait")
    async with site(tmp_path, script, limits={"max_queue": 1, "parallel": 1}) as place:
        body = json.dumps({"model": "m", "prompt": "x"}).encode()
        head = b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        waiting = [await place.connect(head % len(body) + body) for _ in range(2)]
        await place.journalled("load")
        answer = await place.post("/api/generate", model="m", prompt="x")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"] == (
            "server busy, please try again.  maximum pending requests exceeded"
        )
        for writer in waiting:
            writer.close()


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"think": True}, 400, '"m" does not support thinking'),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            400,
            "registry.ollama.ai/library/m:latest does not support tools",
        ),
        ({"options": {"num_ctx": "x"}}, 400, 'option "num_ctx" must be of type integer'),
        (
            {"format": "xml"},
            400,
            'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
        ),
        ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        ({"model": "m:cloud"}, 403, "ollama cloud is disabled: remote model is unavailable"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    tmp_path: Path, body: dict[str, Any], status: int, error: str
) -> None:
    async with site(tmp_path) as place:
        answer = await place.post("/api/chat", **{"model": "m", **HELLO} | body)
        assert (answer.status_code, answer.json()) == (status, {"error": error})
        assert place.journal() == []


async def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    async with site(tmp_path, max_body=1 << 20) as place:
        answer = await place.post("/api/generate", model="m", prompt="x" * (1 << 20))
    assert answer.status_code == 413
    assert answer.json() == {"error": "request body too large (limit 1 MiB)"}


async def test_embeddings_are_lists_of_floats(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        answer = await place.post("/api/embed", model="m", input=["a b", "c"])
        assert answer.json()["embeddings"] == [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
        assert answer.json()["prompt_eval_count"] == 3
        one = await place.post("/api/embeddings", model="m", prompt="a")
        assert one.json() == {"embedding": [1.0, 0.0, 0.0]}
        none = await place.post("/api/embed", model="m", input=[])
        assert none.json() == {"model": "m", "embeddings": []}
