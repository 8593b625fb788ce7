import asyncio
from typing import Any

import pytest

from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation
from tunesmith.operations.draining import CountRequests, Draining
from tunesmith.services.context import House
from tunesmith.store.database import Database

SCOPE: dict[str, Any] = {"type": "http", "path": "/v1/models"}


@pytest.fixture
def draining(database: Database, house: House) -> Draining:
    foundation = Foundation(database=database, house=house)
    return Draining(foundation, Hub(), grace_seconds=60)


async def answer(draining: Draining, scope: dict[str, Any], until: asyncio.Event) -> None:
    async def app(*_: Any) -> None:
        await until.wait()

    counted = CountRequests(app, draining, is_spared=lambda path: path == "/readyz")
    await counted(scope, None, None)  # type: ignore[arg-type]


def test_it_is_done_when_the_last_request_is(draining: Draining) -> None:
    async def live() -> tuple[bool, bool]:
        until = asyncio.Event()
        asked = asyncio.create_task(answer(draining, SCOPE, until))
        round_ = asyncio.create_task(draining.run())
        draining.begin()
        await asyncio.sleep(0.3)
        was_done = draining.is_done.is_set()
        until.set()
        await asked
        is_done = await asyncio.to_thread(draining.is_done.wait, 30)
        round_.cancel()
        return was_done, is_done

    assert asyncio.run(live()) == (False, True)


def test_who_looks_after_the_server_is_not_waited_for(draining: Draining) -> None:
    async def live() -> bool:
        asked = asyncio.create_task(
            answer(draining, {"type": "http", "path": "/readyz"}, asyncio.Event())
        )
        round_ = asyncio.create_task(draining.run())
        draining.begin()
        is_done = await asyncio.to_thread(draining.is_done.wait, 30)
        for task in (asked, round_):
            task.cancel()
        return is_done

    assert asyncio.run(live())
