"""What one task begins in the name of another that waits (`Parking.begin`); on trio the other does it all itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
import anyio.lowlevel
import pytest

from persistconn.tasks import Parking, open_tasks
from tests.line import settle

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def anyio_backend_name(anyio_backend: Any) -> str:
    return str(anyio_backend[0])


class Sleeper:
    """Waits again and again, and notes how each wait has ended."""

    def __init__(self, parking: Parking) -> None:
        self.parking = parking
        self.ends: list[str] = []
        self.task: int = 0
        self.cancel: Callable[[], None]

    async def sleep(self) -> None:
        self.task = anyio.get_current_task().id
        try:
            while True:
                await self.parking.wait()
                self.ends.append("woken")
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise

    @classmethod
    @asynccontextmanager
    async def asleep(cls, count: int = 1) -> AsyncIterator[list[Self]]:
        async with open_tasks() as tasks:
            sleepers = [cls(tasks.parking()) for _ in range(count)]
            for sleeper in sleepers:
                sleeper.cancel = tasks.spawn(sleeper.sleep)
            await settle()
            yield sleepers


class Work:
    """Notes in which task its parts run."""

    def __init__(self, part: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.part = part
        self.tasks: list[int] = []
        self.end = ""

    async def do(self) -> None:
        self.tasks.append(anyio.get_current_task().id)
        try:
            if self.part is not None:
                await self.part()
        except BaseException as error:
            self.end = type(error).__name__
            raise
        else:
            self.end = "done"
        finally:
            self.tasks.append(anyio.get_current_task().id)


async def test_what_does_not_wait_is_done_and_wakes_nobody(anyio_backend_name: str) -> None:
    async with Sleeper.asleep() as (sleeper,):
        me = anyio.get_current_task().id
        for _ in range(3):
            work = Work()
            if anyio_backend_name == "trio":
                assert not sleeper.parking.begin(work.do)
                assert work.end == ""
            else:
                assert sleeper.parking.begin(work.do)
                assert (work.end, work.tasks) == ("done", [sleeper.task] * 2)
            assert anyio.get_current_task().id == me
            await settle()
        assert sleeper.ends == (["woken"] * 3 if anyio_backend_name == "trio" else [])


async def test_nothing_begins_where_nobody_waits() -> None:
    async with open_tasks() as tasks:
        sleeper, work = Sleeper(tasks.parking()), Work()
        assert not sleeper.parking.begin(work.do)
        tasks.spawn(sleeper.sleep)
        await settle()
        assert (sleeper.ends, work.end) == (["woken"], "")


async def test_the_tasks_own_step_goes_on_with_what_waits() -> None:
    gate = anyio.Event()
    async with Sleeper.asleep() as (sleeper,):
        work, more = Work(gate.wait), Work()
        assert not sleeper.parking.begin(work.do)
        assert not sleeper.parking.begin(more.do)
        await settle()
        assert not sleeper.parking.begin(more.do)
        if sleeper.ends:
            return  # trio
        gate.set()
        await settle()
        assert (work.end, work.tasks) == ("done", [sleeper.task] * 2)
        assert more.end == ""
        assert sleeper.ends == ["woken", "woken"]


async def test_one_begins_inside_another(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        return
    async with Sleeper.asleep(2) as (first, second):
        inner = Work()

        async def nested() -> None:
            assert second.parking.begin(inner.do)
            assert not first.parking.begin(Work().do)  # it is at it
            first.parking.wake()

        outer = Work(nested)
        assert first.parking.begin(outer.do)
        assert outer.tasks == [first.task] * 2
        assert inner.tasks == [second.task] * 2
        await settle()
        assert (first.ends, second.ends) == (["woken"], [])


async def test_outside_of_all_tasks_it_begins_too(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        return
    async with Sleeper.asleep() as (sleeper,):
        work = Work()
        asyncio.get_running_loop().call_soon(sleeper.parking.begin, work.do)
        await settle()
        assert (work.end, work.tasks) == ("done", [sleeper.task] * 2)


async def _raise() -> None:
    raise ValueError("mine")


async def _wait_and_raise() -> None:
    await asyncio.sleep(0)
    raise ValueError("mine")


@pytest.mark.parametrize("part", [_raise, _wait_and_raise])
async def test_what_it_raises_its_task_raises(
    part: Callable[[], Awaitable[None]], anyio_backend_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if anyio_backend_name == "trio":
        return
    async with Sleeper.asleep() as (sleeper,):
        assert not sleeper.parking.begin(Work(part).do)
        await settle()
        assert sleeper.ends == ["ValueError"]
        assert "a task failed" in caplog.text


async def _wait_for_a_task(inner: list[asyncio.Task[None]]) -> None:
    inner.append(asyncio.ensure_future(asyncio.sleep(60)))
    await inner[0]


@pytest.mark.parametrize("rounds", [0, 1, 5])
@pytest.mark.parametrize("what", ["a round", "a future", "a task"])
async def test_to_cancel_its_task_cancels_it(rounds: int, what: str, anyio_backend_name: str) -> None:
    """Also before the task has gone on with it: then what it waits for is cancelled, as always."""
    if anyio_backend_name == "trio":
        return
    inner: list[asyncio.Task[None]] = []

    async def part() -> None:
        if what == "a task":
            await _wait_for_a_task(inner)
        elif what == "a future":
            await anyio.Event().wait()
        else:
            for _ in range(100):
                await asyncio.sleep(0)

    async with Sleeper.asleep() as (sleeper,):
        work = Work(part)
        assert not sleeper.parking.begin(work.do)
        for _ in range(rounds):
            await asyncio.sleep(0)
        sleeper.cancel()
        await settle()
        assert (work.end, work.tasks) == ("CancelledError", [sleeper.task] * 2)
        assert sleeper.ends == ["CancelledError"]
        assert all(task.cancelled() for task in inner)


@pytest.mark.parametrize("waits", [False, True])
async def test_it_may_cancel_its_own_task(waits: bool, anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        return

    async def part() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if waits:
            await anyio.Event().wait()

    async with Sleeper.asleep() as (sleeper,):
        work = Work(part)
        assert sleeper.parking.begin(work.do) is not waits
        await settle()
        assert work.end == ("CancelledError" if waits else "done")
        assert sleeper.ends == ["CancelledError"]
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


def test_what_waits_when_its_loop_ends_is_closed() -> None:
    works = [Work(anyio.Event().wait), Work(anyio.Event().wait)]

    async def main() -> None:
        async with open_tasks() as tasks:
            for work, rounds in zip(works, (0, 5), strict=True):
                sleeper = Sleeper(tasks.parking())
                tasks.spawn(sleeper.sleep)
                await settle()
                sleeper.parking.begin(work.do)
                await settle(rounds)

    asyncio.run(main())
    assert [work.end for work in works] == ["CancelledError"] * 2
