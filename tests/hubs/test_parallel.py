"""Calls that take turns and calls side by side: order, back-pressure, and what becomes of them at the end."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import anyio
import anyio.from_thread
import pytest

from persistconn import App, DisconnectReason, Settings
from persistconn.hubs import Hub, HubCall, Proceed

from .page import Line, Page, house, http, quote, settle

KEYS = ["a key for the tests"]


class Works(Hub):
    log: list[Any] = []
    gates: dict[str, anyio.Event] = {}
    caught: list[Any] = []

    async def wait(self, name: str) -> str:
        self.log.append(("begun", name))
        try:
            await self.gates.setdefault(name, anyio.Event()).wait()
        except BaseException as error:
            self.log.append(("cancelled", name))
            self.caught.append(error)
            raise
        self.log.append(("done", name))
        return name

    async def clean_up(self, name: str) -> None:
        self.log.append(("begun", name))
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await settle(5)
            self.log.append(("clean", name))

    async def quick(self, name: str) -> str:
        self.log.append(("quick", name))
        return name

    def block(self, name: str) -> str:
        anyio.from_thread.run_sync(self.log.append, ("begun", name))
        GATE.wait(10)
        return name

    async def foreign(self) -> None:
        task = asyncio.ensure_future(asyncio.sleep(60))
        task.cancel()
        await task

    async def itself(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        await settle(3)
        self.log.append(("goodbye", reason.value))


GATE = threading.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    for kept in (Works.log, Works.gates, Works.caught):
        kept.clear()
    GATE.clear()


def works(most: int = 1, **options: Any) -> App:
    app = App(secret_keys=KEYS, settings=Settings(max_parallel_calls=most, inbox_messages=4))
    app.add_hubs("/signalr", Works, **options)
    return app


def open_gate(name: str) -> None:
    Works.gates.setdefault(name, anyio.Event()).set()


def burst(page: Page, *calls: tuple[str, str]) -> list[str]:
    return [page.begin("works", method, name) for method, name in calls]


async def asked(page: Page, method: str, *arguments: Any) -> Line:
    """A call by /send whose answer may take its time."""
    line = Line(page.state)
    said = json.dumps({"H": "works", "M": method, "A": arguments, "I": 1})
    body = b"data=" + quote(said).encode()
    line.data_received(http(f"{page.path}/send?{page.query}", method="POST", body=body))
    await settle()
    return line


# One after the other ----------------------------------------------------------------------------


async def test_calls_of_one_connection_take_turns() -> None:
    async with house(works()) as home:
        page, other = await home.page("works"), await home.page("works")
        ids = burst(page, ("wait", "a"), ("quick", "b"), ("quick", "c"))
        await settle()
        assert Works.log == [("begun", "a")]
        assert (await other.call("works", "quick", "x"))["R"] == "x"  # nobody else waits for them
        open_gate("a")
        assert [(await page.answer(id))["R"] for id in ids] == ["a", "b", "c"]
        assert [entry[1] for entry in Works.log] == ["a", "x", "a", "b", "c"]


async def test_side_by_side_each_is_answered_when_it_is_done() -> None:
    async with house(works(2)) as home:
        page = await home.page("works")
        first, second = burst(page, ("wait", "a"), ("wait", "b"))
        await settle()
        assert sorted(Works.log) == [("begun", "a"), ("begun", "b")]
        open_gate("b")
        assert (await page.answer(second))["R"] == "b" and first not in page.answers
        open_gate("a")
        assert (await page.answer(first))["R"] == "a"


async def test_no_more_run_at_once_than_may_and_the_rest_presses_back() -> None:
    async with house(works(2)) as home:
        page = await home.page("works")
        ids = burst(page, *[("wait", str(count)) for count in range(12)])
        await settle()
        assert sorted(Works.log) == [("begun", "0"), ("begun", "1")]
        assert home.app.statistics().reactions["inbox_messages"] >= 1
        exchange = page.line._exchange
        assert exchange is not None and exchange.paused  # its socket is not read any more
        for count, id in enumerate(ids):
            open_gate(str(count))
            await page.answer(id)
            assert len([entry for entry in Works.log if entry[0] == "begun"]) <= count + 3
        assert not exchange.paused and len(Works.log) == 24


async def test_by_request_calls_run_side_by_side_too() -> None:
    async with house(works(2)) as home:
        page = await home.page("works", transport="longPolling")
        first, second = await asked(page, "wait", "a"), await asked(page, "quick", "b")
        assert second.take().endswith(b'{"R":"b","I":"1"}') and first.take() == b""
        open_gate("a")
        await settle()
        assert first.take().endswith(b'{"R":"a","I":"1"}')
        refused = Line(page.state)
        body = b"data=" + quote('{"H":"nosuch","M":"x","I":1}').encode()
        refused.data_received(http(f"{page.path}/send?{page.query}", method="POST", body=body))
        await settle()
        assert refused.take().startswith(b"HTTP/1.1 500 ")


# The end ----------------------------------------------------------------------------------------


async def test_a_waiting_call_is_cancelled_and_queued_ones_are_not_begun() -> None:
    async with house(works()) as home:
        page = await home.page("works")
        burst(page, ("wait", "a"), ("quick", "b"), ("quick", "c"))
        await settle()
        await page.stop()
        await settle()
        assert Works.log == [("begun", "a"), ("cancelled", "a"), ("goodbye", "closed")]
        assert isinstance(Works.caught[0], anyio.get_cancelled_exc_class())


async def test_a_line_that_was_cut_is_no_end() -> None:
    async with house(works()) as home:
        page = await home.page("works")
        burst(page, ("wait", "a"), ("quick", "b"))
        await settle()
        page.leave()
        await settle()
        open_gate("a")
        await settle()
        assert Works.log == [("begun", "a"), ("done", "a"), ("quick", "b")]
        await page.reconnect()
        assert page.answers == {}  # results are not replayed


async def test_calls_side_by_side_are_over_before_the_goodbye() -> None:
    async with house(works(3)) as home:
        page = await home.page("works")
        burst(page, ("cleanUp", "a"), ("cleanUp", "b"))
        await settle()
        burst(page, ("quick", "c"), ("wait", "d"))
        await settle()
        await page.stop()
        await settle(100)
    assert Works.log[-1] == ("goodbye", "closed")
    assert {("clean", "a"), ("clean", "b")} <= set(Works.log)


async def test_a_call_that_has_not_begun_when_the_connection_goes_never_does() -> None:
    async with house(works(8)) as home:
        page = await home.page("works")
        burst(page, ("quick", "a"), ("quick", "b"))
        page.line.data_received(b"")
        page.line.connection_lost()
        page.line = Line(home.state)
        page.line.data_received(http(f"{page.path}/abort?{page.query}", method="POST"))  # all in one turn of the loop
        await settle(100)
    assert Works.log[-1] == ("goodbye", "closed")


@pytest.mark.parametrize("most", [1, 3])
async def test_a_request_that_waits_for_a_call_is_answered_when_the_connection_goes(most: int) -> None:
    async with house(works(most)) as home:
        page = await home.page("works", transport="longPolling")
        lines = [await asked(page, "wait", "a"), await asked(page, "cleanUp", "b"), await asked(page, "quick", "c")]
        await page.ask(f"{page.path}/abort?{page.query}", method="POST")
        await settle(100)
        answers = [line.take() for line in lines]
    assert all(answer.startswith((b"HTTP/1.1 500 ", b"HTTP/1.1 410 ", b"HTTP/1.1 200 ")) for answer in answers)
    assert not answers[0].startswith(b"HTTP/1.1 200 ")
    assert Works.log[-1] == ("goodbye", "closed")


@pytest.mark.parametrize("most", [1, 3])
async def test_an_app_that_stops_cancels_its_calls_in_silence(most: int) -> None:
    async with house(works(most)) as home:
        page = await home.page("works")
        burst(page, ("wait", "a"), ("quick", "b"))
        await settle()
    assert {("begun", "a"), ("cancelled", "a")} <= set(Works.log)


@pytest.mark.parametrize("most", [1, 3])
async def test_a_thread_is_waited_for(most: int) -> None:
    """The goodbye must not come while a plain method still works."""
    async with house(works(most)) as home:
        page = await home.page("works")
        burst(page, ("block", "a"))
        with anyio.fail_after(10):
            while Works.log != [("begun", "a")]:
                await settle()
        await page.stop()
        await settle()
        assert Works.log == [("begun", "a")]
        GATE.set()
        with anyio.fail_after(10):
            while len(Works.log) < 2:
                await settle()
    assert Works.log == [("begun", "a"), ("goodbye", "closed")]


async def test_time_limits_of_filters_are_their_own() -> None:
    async def limited(call: HubCall, proceed: Proceed) -> object:
        with anyio.move_on_after(0):
            return await proceed()
        return "too slow"

    async with house(works(filters=[limited])) as home:
        page = await home.page("works")
        assert (await page.call("works", "wait", "a"))["R"] == "too slow"


# Cancelled by somebody else, which asyncio knows ---------------------------------------------------


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("method", ["foreign", "itself"])
async def test_a_cancelled_task_is_an_error_to_the_caller_and_no_hang(
    most: int, method: str, anyio_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if anyio_backend[0] == "trio":
        return  # there, nobody can await somebody else's cancelled task
    async with house(works(most)) as home:
        page = await home.page("works")
        answer = await page.call("works", method)
        assert answer["E"] == f"There was an error invoking Hub method 'works.{method}'."
        assert (await page.call("works", "quick", "x"))["R"] == "x"
        polling = await home.page("works", transport="longPolling")
        line = await asked(polling, method)
        assert line.take().endswith(f"There was an error invoking Hub method 'works.{method}'.\"}}".encode())
        await page.stop()
        await polling.stop()
        await settle(100)
    assert Works.log == [("quick", "x"), ("goodbye", "closed"), ("goodbye", "closed")]
    assert [record.levelno for record in caplog.records if "failed" in record.getMessage()].count(logging.ERROR) >= 2


async def test_nothing_of_a_call_stays() -> None:
    async with house(works(3)) as home:
        page = await home.page("works")
        for _ in range(20):
            await page.call("works", "quick", "x")
        (dispatcher,) = home.app._connections.values()
        (member,) = dispatcher._members.values()  # type: ignore[attr-defined]
        assert not member._running and not member._owed and member.places.value == 3
        await page.stop()
        assert dispatcher._members == {}  # type: ignore[attr-defined]
