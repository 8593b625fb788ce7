import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from tests.factories import base_model, embed_request, sample_request
from tunesmith.domain.assignments import (
    Asked,
    NoMoreRequests,
    SampleCancel,
    SampleOutput,
    SamplePart,
)
from tunesmith.domain.errors import Unavailable
from tunesmith.fleet import hub as hub_module
from tunesmith.fleet.hub import Connection, Hub


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, timeout=10))


def delta(text: str, request_id: str = "one") -> SampleOutput:
    return SampleOutput(request_id=request_id, part=SamplePart.DELTA, text=text)


def done(request_id: str = "one") -> SampleOutput:
    return SampleOutput(request_id=request_id, part=SamplePart.DONE, finish_reason="stop")


async def collect(outputs: AsyncIterator[SampleOutput]) -> list[SampleOutput]:
    return [output async for output in outputs]


async def taken(connection: Connection) -> Asked:
    return await asyncio.wait_for(connection.outgoing.get(), timeout=5)


def test_a_request_goes_to_a_worker_and_its_answer_comes_back() -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        asking = asyncio.create_task(collect(hub.sample(sample_request())))
        assert await taken(box) == sample_request()
        for output in (delta("Hel"), delta("lo"), done()):
            box.deliver(output)
        assert await asking == [delta("Hel"), delta("lo"), done()]
        assert not box.waiting
        assert box.outgoing.empty()  # nothing to cancel

    run(scene())


def test_a_worker_that_is_leaving_answers_what_it_was_asked_and_gets_no_more() -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        first = asyncio.create_task(collect(hub.sample(sample_request("one"))))
        assert await taken(box) == sample_request("one")
        hub.dismiss(box)
        assert await taken(box) == NoMoreRequests(no_more_requests=True)
        second = asyncio.create_task(collect(hub.sample(sample_request("two"))))
        await asyncio.sleep(0)
        other = hub.connect("other")  # which the second has waited for
        assert await taken(other) == sample_request("two")
        box.deliver(done("one"))
        other.deliver(done("two"))
        assert (await first, await second) == ([done("one")], [done("two")])
        assert box.outgoing.empty()

    run(scene())


def test_a_failed_answer_ends_the_request() -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        asking = asyncio.create_task(collect(hub.sample(sample_request())))
        await taken(box)
        failed = SampleOutput(request_id="one", part=SamplePart.FAILED, code="prompt_too_long")
        box.deliver(failed)
        assert await asking == [failed]

    run(scene())


def test_who_listens_no_more_has_the_request_cancelled() -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        outputs = hub.sample(sample_request())
        first = asyncio.ensure_future(anext(outputs))
        await taken(box)
        box.deliver(delta("Hel"))
        await first
        await outputs.aclose()  # type: ignore[attr-defined]
        assert await taken(box) == SampleCancel(request_id="one")
        box.deliver(delta("lo"))  # too late, and harmless

    run(scene())


@pytest.mark.parametrize("how", ["it leaves", "it comes again"])
def test_a_worker_that_goes_lets_its_askers_know(how: str) -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        asking = asyncio.create_task(collect(hub.sample(sample_request())))
        await taken(box)
        if how == "it leaves":
            hub.disconnect(box)
        else:
            hub.connect("box")
        with pytest.raises(Unavailable, match="has gone"):
            await asking

    run(scene())


def test_an_old_connection_that_ends_late_does_not_end_the_new_one() -> None:
    async def scene() -> None:
        hub = Hub()
        older = hub.connect("box")
        hub.connect("box")
        hub.disconnect(older)
        assert hub.num_workers == 1

    run(scene())


def test_without_a_worker_a_request_waits_a_while_and_no_longer() -> None:
    async def scene() -> None:
        hub = Hub(wait_seconds=0.01)
        with pytest.raises(Unavailable, match="tunesmith worker"):
            await collect(hub.sample(sample_request()))

    run(scene())


def test_a_worker_that_arrives_meanwhile_gets_the_request() -> None:
    async def scene() -> None:
        hub = Hub()
        asking = asyncio.create_task(collect(hub.sample(sample_request())))
        await asyncio.sleep(0)
        box = hub.connect("box")
        await taken(box)
        box.deliver(done())
        assert await asking == [done()]

    run(scene())


def test_a_worker_that_arrives_and_goes_at_once_is_no_worker() -> None:
    async def scene() -> None:
        hub = Hub(wait_seconds=0.05)
        asking = asyncio.create_task(collect(hub.sample(sample_request())))
        await asyncio.sleep(0)
        hub.disconnect(hub.connect("box"))
        with pytest.raises(Unavailable):
            await asking

    run(scene())


def test_a_worker_with_the_base_model_resident_is_asked_again() -> None:
    async def scene() -> None:
        hub = Hub()
        workers = {name: hub.connect(name) for name in ("a", "b")}
        asked = []
        for number, model in enumerate(["m1", "m2", "m1", "m2", "m1"]):
            request = sample_request(str(number), base_model=base_model(model))
            asking = asyncio.create_task(collect(hub.sample(request)))
            await asyncio.sleep(0)
            (busy,) = [name for name, worker in workers.items() if worker.waiting]
            asked.append((model, busy))
            workers[busy].deliver(done(str(number)))
            await asking
        assert len({worker for model, worker in asked if model == "m1"}) == 1

    run(scene())


def test_a_worker_that_has_too_much_to_do_is_given_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scene() -> None:
        monkeypatch.setattr(hub_module, "MAX_REQUESTS_AT_ONCE", 1)
        hub = Hub()
        box = hub.connect("box")
        asking = asyncio.create_task(collect(hub.sample(sample_request("one"))))
        await taken(box)
        with pytest.raises(Unavailable, match="Too many"):
            await collect(hub.sample(sample_request("two")))
        box.deliver(done())
        await asking

    run(scene())


def test_calls_of_tools_do_not_end_an_answer() -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        asking = asyncio.create_task(collect(hub.sample(sample_request())))
        await taken(box)
        call = SampleOutput(request_id="one", part=SamplePart.TOOL_CALL)
        for output in (call, call, done()):
            box.deliver(output)
        assert await asking == [call, call, done()]

    run(scene())


def test_an_embedding_is_asked_for_and_comes_back() -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        asking = asyncio.create_task(hub.embed(embed_request()))
        assert await taken(box) == embed_request()
        told = SampleOutput(request_id="one", part=SamplePart.EMBEDDING, embedding=(0.6, 0.8))
        box.deliver(told)
        assert await asking == told
        assert not box.waiting
        assert box.outgoing.empty()

    run(scene())


def test_who_waits_for_an_embedding_no_more_has_it_cancelled() -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        asking = asyncio.create_task(hub.embed(embed_request()))
        await taken(box)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await taken(box) == SampleCancel(request_id="one")

    run(scene())


def test_an_embedding_whose_worker_goes_is_unavailable() -> None:
    async def scene() -> None:
        hub = Hub()
        box = hub.connect("box")
        asking = asyncio.create_task(hub.embed(embed_request()))
        await taken(box)
        hub.disconnect(box)
        with pytest.raises(Unavailable):
            await asking

    run(scene())


def test_workers_are_busy_when_all_of_them_write_as_many_answers_as_they_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub_module, "ANSWERS_AT_ONCE", 1)

    async def scene() -> None:
        hub = Hub()
        assert hub.is_busy  # nobody is there to answer
        box = hub.connect("box")
        assert not hub.is_busy
        asking = asyncio.create_task(collect(hub.sample(sample_request())))
        await taken(box)
        assert hub.is_busy
        hub.connect("other")
        assert not hub.is_busy
        box.deliver(done())
        await asking

    run(scene())
