"""Tools and thinking with the official Python client: the answer is forced, its parsing and the wire are real."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import ollama
import pytest

from mlx_ollama.api.messages import Message, Tool
from mlx_ollama.ipc.messages import Delta
from mlx_ollama.parsers.output import pick_parser
from mlx_ollama.store.store import Store
from tests.contract.test_clients import served
from tests.fakes.runner import Script
from tests.fakes.site import Site, add_model

pytestmark = [pytest.mark.anyio, pytest.mark.contract]

QUESTION = {"role": "user", "content": "What is the weather in Paris and Rome?"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"type": ["string"]}, "days": {"type": ["integer"]}},
        },
    },
}
REPLY = (
    "<think>Two cities.</think>I look."
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call>'
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'
)
CALLS = [("get_weather", {"city": "Paris", "days": 2}), ("get_weather", {"city": "Rome"})]


def deltas(reply: str, size: int = 5, *, think: bool = True) -> list[Delta]:
    """What a runner sends for a reply that the model wrote so many characters at a time."""
    tools = msgspec.convert([WEATHER], list[Tool])
    parser = pick_parser(
        tools=tools, tool_format="hermes", think=think, thinking_tags=("<think>", "</think>")
    )
    pieces = [reply[place : place + size] for place in range(0, len(reply), size)]
    found = [*map(parser.add, pieces), parser.add("", done=True)]
    return [
        Delta(id=0, content=one.content, thinking=one.thinking, tool_calls=one.tool_calls)
        for one in found
        if one.content or one.thinking or one.tool_calls
    ]


@asynccontextmanager
async def able(
    folder: Path, script: Script, *capabilities: str
) -> AsyncGenerator[tuple[ollama.AsyncClient, Site], None]:
    """The client and a site whose model `m` has these capabilities too."""
    async with served(folder, script) as (client, place):
        add_model(Store(folder / "models"), "m", capabilities=["completion", *capabilities])
        yield client, place


def called(message: ollama.Message) -> list[tuple[str, Any]]:
    return [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]


def script() -> Script:
    return Script(deltas=deltas(REPLY), say=["Sunny", " there."], record=True)


async def go_on(
    client: ollama.AsyncClient, asked: list[Any], answer: ollama.Message, place: Site
) -> None:
    """The second half of the round trip: the results go back, and the model has all of it."""
    results = [
        {"role": "tool", "tool_name": name, "content": f"sunny in {arguments['city']}"}
        for name, arguments in called(answer)
    ]
    last = await client.chat("m", [*asked, answer, *results], tools=[WEATHER])
    assert (last.message.content, last.message.tool_calls) == ("Sunny there.", None)
    lines = [line.removeprefix("message ") for line in place.journal("message")]
    seen = [msgspec.json.decode(line, type=Message) for line in lines[len(asked) :]]
    assert [message.role for message in seen] == ["user", "assistant", "tool", "tool"]
    arguments = [(call.function.name, call.function.arguments) for call in seen[1].tool_calls]
    assert arguments == CALLS
    assert [(m.tool_name, m.content) for m in seen[2:]] == [
        ("get_weather", "sunny in Paris"),
        ("get_weather", "sunny in Rome"),
    ]


async def test_a_tool_round_trip_in_one_piece(tmp_path: Path) -> None:
    async with able(tmp_path, script(), "tools", "thinking") as (client, place):
        answer = await client.chat("m", [QUESTION], tools=[WEATHER])
        assert called(answer.message) == CALLS
        assert (answer.message.content, answer.message.thinking) == ("I look.", "Two cities.")
        assert answer.done_reason == "stop"
        await go_on(client, [QUESTION], answer.message, place)


async def test_a_tool_round_trip_in_a_stream(tmp_path: Path) -> None:
    async with able(tmp_path, script(), "tools", "thinking") as (client, place):
        stream = await client.chat("m", [QUESTION], tools=[WEATHER], stream=True)
        chunks = [chunk async for chunk in stream]
        assert [chunk.done for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert "".join(c.message.content or "" for c in chunks) == "I look."
        assert "".join(c.message.thinking or "" for c in chunks) == "Two cities."
        calls = [call for chunk in chunks for call in chunk.message.tool_calls or ()]
        whole = ollama.Message(role="assistant", content="I look.", tool_calls=calls)
        assert called(whole) == CALLS
        await go_on(client, [QUESTION], whole, place)


async def test_calls_are_numbered_and_each_has_a_name_of_its_own(tmp_path: Path) -> None:
    async with able(tmp_path, script(), "tools") as (_, place):
        body = {"model": "m", "messages": [QUESTION], "tools": [WEATHER]}
        lines = await place.lines("/api/chat", **body)
        calls = [call for line in lines for call in line["message"].get("tool_calls", ())]
        assert [call["function"]["index"] for call in calls] == [0, 1]
        assert len({call["id"] for call in calls}) == 2
        assert all(call["id"].startswith("call_") for call in calls)
        (whole,) = await place.lines("/api/chat", **body, stream=False)
        assert [call["function"] for call in whole["message"]["tool_calls"]] == [
            call["function"] for call in calls
        ]


async def test_a_python_function_is_a_tool(tmp_path: Path) -> None:
    def get_weather(city: str, days: int = 1) -> str:
        """The weather of a city.

        Args:
            city: its name
            days: how many
        """
        return f"{city} {days}"

    async with able(tmp_path, script(), "tools") as (client, _):
        answer = await client.chat("m", [QUESTION], tools=[get_weather])
        said = [get_weather(**call.function.arguments) for call in answer.message.tool_calls or ()]
        assert said == ["Paris 2", "Rome 1"]


async def test_a_call_that_was_cut_off_is_content(tmp_path: Path) -> None:
    cut = '<tool_call>\n{"name": "get_weather", "argum'
    async with able(tmp_path, Script(deltas=deltas(cut)), "tools") as (client, _):
        answer = await client.chat("m", [QUESTION], tools=[WEATHER])
        assert (answer.message.content, answer.message.tool_calls) == (cut, None)


async def test_thinking_of_a_bare_prompt_is_beside_its_response(tmp_path: Path) -> None:
    script = Script(deltas=deltas("<think>Hm.</think>Four."))
    async with able(tmp_path, script, "thinking") as (client, _):
        whole = await client.generate("m", "2 + 2?", think=True)
        assert (whole.thinking, whole.response) == ("Hm.", "Four.")
        chunks = [c async for c in await client.generate("m", "2 + 2?", think=True, stream=True)]
        assert "".join(chunk.thinking or "" for chunk in chunks) == "Hm."
        assert "".join(chunk.response or "" for chunk in chunks) == "Four."


async def test_what_a_model_cannot_do_is_refused(tmp_path: Path) -> None:
    async with able(tmp_path, Script()) as (client, _):
        with pytest.raises(ollama.ResponseError, match=r"m:latest does not support tools") as tools:
            await client.chat("m", [QUESTION], tools=[WEATHER])
        with pytest.raises(ollama.ResponseError, match='"m" does not support thinking') as think:
            await client.chat("m", [QUESTION], think=True)
        assert (tools.value.status_code, think.value.status_code) == (400, 400)
