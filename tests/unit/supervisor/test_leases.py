import asyncio
from datetime import datetime, timedelta

import pytest

from mlx_ollama import durations
from mlx_ollama.errors import Busy, Canceled, LoadFailed, MlxOllamaError
from mlx_ollama.ipc.messages import Delta, Done, Embed, Generate, Load, Progress, Vectors
from mlx_ollama.supervisor.spec import RunnerSpec
from tests.fakes.runner import Script
from tests.unit.supervisor.conftest import Stage, ask, spec, text, until

pytestmark = pytest.mark.anyio


async def test_a_request_loads_the_model_and_streams_its_answer(stage: Stage) -> None:
    async with stage.supervisor() as supervisor, supervisor.lease(spec()) as lease:
        assert lease.loaded.num_ctx == 4096
        assert lease.load_duration > 0
        events = [event async for event in lease.request(Generate(id=0, prompt="a b"))]
    assert [event.content for event in events if isinstance(event, Delta)] == [
        "Hello",
        " there",
        ".",
    ]
    assert isinstance(events[-1], Done)
    assert events[-1].metrics.prompt_eval_count == 2


async def test_vectors_are_the_last_event_of_an_embedding(stage: Stage) -> None:
    async with stage.supervisor() as supervisor, supervisor.lease(spec()) as lease:
        events = [event async for event in lease.request(Embed(id=0, inputs=["a", "b"]))]
    assert [type(event) for event in events] == [Vectors]


async def test_the_second_request_finds_the_model_loaded(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        await ask(supervisor)
        await ask(supervisor)
    assert len(stage.pids()) == 1


async def test_simultaneous_requests_share_one_load(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        answers = await asyncio.gather(*(ask(supervisor) for _ in range(6)))
    assert answers == ["Hello there."] * 6
    assert len(stage.pids()) == 1


async def test_only_a_longer_context_reloads(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        for num_ctx, loaded in (
            (512, 512),
            (0, 4096),
            (512, 4096),
            (1024, 4096),
            (6000, 6000),
            (0, 6000),
        ):
            await ask(supervisor, spec(num_ctx=num_ctx))
            assert [model.context_length for model in supervisor.loaded()] == [loaded]
    assert len(stage.pids()) == 3


async def test_a_context_length_beyond_training_is_the_same_as_the_trained_one(
    stage: Stage,
) -> None:
    async with stage.supervisor(Script(context_length=2048)) as supervisor:
        await ask(supervisor, spec(num_ctx=100_000))
        await ask(supervisor, spec(num_ctx=200_000))
    assert len(stage.pids()) == 1


async def test_a_name_with_a_new_digest_loads_the_new_model(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        await ask(supervisor, spec(digest="old"))
        await ask(supervisor, spec(digest="new"))
        await until(lambda: len(supervisor.loaded()) == 1)
        assert supervisor.loaded()[0].digest == "new"


async def test_two_names_of_one_model_share_its_runner(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        await ask(supervisor, spec("a", digest="same"))
        await ask(supervisor, spec("b", digest="same"))
    assert len(stage.pids()) == 1


# ---- leaving early


async def test_leaving_the_stream_aborts_the_request(stage: Stage) -> None:
    async with stage.supervisor(Script(trouble="wait", after=1)) as supervisor:
        async with supervisor.lease(spec()) as lease:
            async for event in lease.request(Generate(id=0)):
                if isinstance(event, Delta):
                    break
        await until(lambda: stage.journal("abort"))
        assert supervisor.loaded()


async def test_a_cancelled_task_aborts_its_request_and_frees_its_slot(stage: Stage) -> None:
    script = Script(trouble="wait", after=1, marker=stage.marker, parallel=1)
    async with stage.supervisor(script) as supervisor:
        first = asyncio.create_task(ask(supervisor))
        await until(lambda: stage.journal("wait"))
        second = asyncio.create_task(ask(supervisor))
        first.cancel()
        await until(lambda: stage.journal("abort"))
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_leaving_the_queue_gives_the_place_to_the_next(stage: Stage) -> None:
    async with stage.supervisor(Script(parallel=1)) as supervisor:
        async with supervisor.lease(spec()) as lease:
            leaver = asyncio.create_task(ask(supervisor))
            patient = asyncio.create_task(ask(supervisor))
            await asyncio.sleep(0)
            leaver.cancel()
            assert await text(lease) == "Hello there."
        assert await patient == "Hello there."


async def test_a_load_that_nobody_waits_for_is_cancelled(stage: Stage) -> None:
    async with stage.supervisor(Script(load_trouble="wait", marker=stage.marker)) as supervisor:
        waiting = asyncio.create_task(ask(supervisor))
        await until(lambda: stage.journal("wait"))
        waiting.cancel()
        await asyncio.wait([waiting])
        assert await ask(supervisor) == "Hello there."
    assert len(stage.pids()) == 2


async def test_one_of_two_may_leave_a_load(stage: Stage) -> None:
    script = Script(load_steps=20, load_seconds=0.01)
    async with stage.supervisor(script) as supervisor:
        leaver = asyncio.create_task(ask(supervisor))
        stayer = asyncio.create_task(ask(supervisor))
        await until(lambda: stage.journal("load"))
        leaver.cancel()
        assert await stayer == "Hello there."
    assert len(stage.pids()) == 1


async def test_a_reader_that_takes_nothing_is_cancelled_and_the_others_go_on(stage: Stage) -> None:
    script = Script(say=["x" * 65_536], times=40)
    async with stage.supervisor(script) as supervisor, supervisor.lease(spec()) as slow:
        stalled = slow.request(Generate(id=0))
        await anext(stalled)
        assert len(await ask(supervisor)) == 40 * 65_536
        await until(lambda: stage.journal("abort"))
        with pytest.raises(Canceled, match="too slow"):
            async for _ in stalled:
                pass


# ---- the queue


async def test_the_queue_takes_so_many_and_no_more(stage: Stage) -> None:
    script = Script(trouble="wait", after=1, parallel=2)
    async with stage.supervisor(script, max_queue=3, parallel=2) as supervisor:
        tasks = [asyncio.create_task(ask(supervisor)) for _ in range(9)]
        done, waiting = await asyncio.wait(tasks, timeout=0.3)
        errors = [task.exception() for task in done]
        assert [str(error) for error in errors] == [
            "server busy, please try again.  maximum pending requests exceeded"
        ] * 4
        assert all(isinstance(error, Busy) for error in errors)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


# ---- keep-alive


async def test_keep_alive_zero_unloads_after_the_request(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        assert await ask(supervisor, keep_alive=0) == "Hello there."
        await until(lambda: not supervisor.loaded())


async def test_keep_alive_runs_from_the_end_of_the_last_request(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        async with supervisor.lease(spec(), keep_alive=20_000_000) as lease:
            await asyncio.sleep(0.05)
            assert await text(lease) == "Hello there."
            assert supervisor.loaded()
        await until(lambda: not supervisor.loaded())


async def test_an_absent_keep_alive_keeps_what_the_model_has(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        await ask(supervisor, keep_alive=3600 * durations.SECOND)
        await ask(supervisor)
        (model,) = supervisor.loaded()
    left = model.expires_at - datetime.now().astimezone()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


async def test_the_default_keep_alive_is_the_limits(stage: Stage) -> None:
    async with stage.supervisor(keep_alive=60 * durations.SECOND) as supervisor:
        await ask(supervisor)
        (model,) = supervisor.loaded()
    left = model.expires_at - datetime.now().astimezone()
    assert timedelta(seconds=50) < left <= timedelta(seconds=60)


async def test_a_negative_keep_alive_is_for_ever(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        await ask(supervisor, keep_alive=-1)
        (model,) = supervisor.loaded()
    assert 2300 < model.expires_at.year < 2400


async def test_the_one_that_stays_longest_is_listed_first(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        await ask(supervisor, spec("short"), keep_alive=10 * durations.SECOND)
        await ask(supervisor, spec("long"), keep_alive=900 * durations.SECOND)
        await ask(supervisor, spec("middle"), keep_alive=90 * durations.SECOND)
        assert [model.name for model in supervisor.loaded()] == ["long", "middle", "short"]


async def test_unload_waits_for_the_running_request(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        async with supervisor.lease(spec()) as lease:
            supervisor.unload(spec().key)
            assert await text(lease) == "Hello there."
        await until(lambda: not supervisor.loaded())


async def test_unloading_an_idle_model_ends_its_runner(stage: Stage) -> None:
    async with stage.supervisor() as supervisor:
        await ask(supervisor)
        supervisor.unload(spec().key)
        await until(lambda: not supervisor.loaded())
        supervisor.unload(spec().key)
        assert await ask(supervisor) == "Hello there."


# ---- room


async def test_the_least_recently_used_idle_model_makes_room(stage: Stage) -> None:
    async with stage.supervisor(max_loaded=2) as supervisor:
        for name in ("a", "b", "a", "c"):
            await ask(supervisor, spec(name))
        assert {model.name for model in supervisor.loaded()} == {"a", "c"}


async def test_a_busy_model_is_waited_for_and_takes_nothing_new_meanwhile(stage: Stage) -> None:
    async with stage.supervisor(max_loaded=1) as supervisor:
        async with supervisor.lease(spec("a")) as lease:
            other = asyncio.create_task(ask(supervisor, spec("b")))
            await asyncio.sleep(0)
            latecomer = asyncio.create_task(ask(supervisor, spec("a")))
            await asyncio.sleep(0.05)
            assert not other.done()
            assert not latecomer.done()
            assert await text(lease) == "Hello there."
        assert await other == "Hello there."
        assert await latecomer == "Hello there."
    assert [line.split()[1] for line in stage.journal("load")] == ["a", "b", "a"]


async def test_memory_decides_too(stage: Stage) -> None:
    script = Script(memory=600 << 20)
    async with stage.supervisor(script, memory=1 << 30) as supervisor:
        await ask(supervisor, spec("a", size=300 << 20))
        await ask(supervisor, spec("b", size=300 << 20))
        assert [model.name for model in supervisor.loaded()] == ["b"]


async def test_a_model_larger_than_memory_is_refused_before_it_is_loaded(stage: Stage) -> None:
    async with stage.supervisor(memory=1 << 30) as supervisor:
        with pytest.raises(
            LoadFailed, match=r"model requires 2\.0 GiB but only 1\.0 GiB are avail"
        ):
            await ask(supervisor, spec(size=2 << 30))
    assert not stage.pids()


# ---- preparing


async def test_weights_are_prepared_only_for_a_load_and_their_load_is_sent(stage: Stage) -> None:
    prepared: list[int] = []

    async def prepare():
        prepared.append(1)
        yield Progress(completed=1, total=2)
        yield Load(model="m", digest="d", directory="made", num_ctx=0)

    wanted = RunnerSpec(load=Load(model="m", digest="d", num_ctx=77), prepare=prepare)
    async with stage.supervisor() as supervisor:
        await ask(supervisor, wanted)
        await ask(supervisor, wanted)
    assert prepared == [1]
    assert stage.journal("load m d 77")


async def test_a_preparation_that_fails_fails_the_request(stage: Stage) -> None:
    async def prepare():
        yield Progress()
        raise LoadFailed("no such weights")

    wanted = RunnerSpec(load=Load(model="m", digest="d"), prepare=prepare)
    async with stage.supervisor() as supervisor:
        with pytest.raises(LoadFailed, match="no such weights"):
            await ask(supervisor, wanted)


async def test_a_preparation_without_progress_times_out(stage: Stage) -> None:
    async def prepare():
        await asyncio.Event().wait()
        yield Progress()

    wanted = RunnerSpec(load=Load(model="m", digest="d"), prepare=prepare)
    async with stage.supervisor(load_timeout=10_000_000) as supervisor:
        with pytest.raises(LoadFailed, match="timed out"):
            await ask(supervisor, wanted)


# ---- faults and closing


async def test_a_fault_ends_its_request_only(stage: Stage) -> None:
    script = Script(trouble="fault", after=1, marker=stage.marker)
    async with stage.supervisor(script) as supervisor:
        with pytest.raises(MlxOllamaError, match="it went wrong"):
            await ask(supervisor)
        assert len(supervisor.loaded()) == 1


async def test_a_busy_fault_is_busy(stage: Stage) -> None:
    async with stage.supervisor(Script(trouble="busy")) as supervisor:
        with pytest.raises(Busy, match="come back later"):
            await ask(supervisor)


async def test_closing_ends_what_runs_with_an_error_and_refuses_the_rest(stage: Stage) -> None:
    async with stage.supervisor(Script(trouble="wait", after=1)) as supervisor:
        running = asyncio.create_task(ask(supervisor))
        await until(lambda: stage.journal("wait"))
        await supervisor.close(0.01)
        with pytest.raises(Canceled, match="shutting down"):
            await running
        with pytest.raises(Busy, match="shutting down"):
            await ask(supervisor)
        assert not supervisor.loaded()


async def test_closing_lets_a_short_answer_end(stage: Stage) -> None:
    async with stage.supervisor(Script(delay=0.02)) as supervisor:
        running = asyncio.create_task(ask(supervisor))
        await until(lambda: stage.journal("request"))
        await supervisor.close(5)
        assert await running == "Hello there."


async def test_closing_ends_a_load(stage: Stage) -> None:
    async with stage.supervisor(Script(load_trouble="wait")) as supervisor:
        loading = asyncio.create_task(ask(supervisor))
        await until(lambda: stage.journal("wait"))
        await supervisor.close(0)
        with pytest.raises(Busy, match="shutting down"):
            await loading
