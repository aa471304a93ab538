"""How much one client may ask for, what it is told, and what is counted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from persistconn import App, Settings
from persistconn.hubs import Hub
from persistconn.hubs.described import HubTable
from persistconn.hubs.dispatcher import Dispatcher
from persistconn.hubs.members import Member

from .page import Page, house

KEYS = ["a key for the tests"]


class Counts(Hub):
    calls = 0

    async def count(self, *things: Any) -> int:
        type(self).calls += 1
        return len(things)

    async def state(self) -> int:
        return len(self.context.state)


@pytest.fixture(autouse=True)
def from_zero() -> None:
    Counts.calls = 0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def counts(clock: Clock | None = None, **limits: Any) -> App:
    app = App(secret_keys=KEYS, settings=Settings(**limits))
    if clock is None:
        app.add_hubs("/signalr", Counts)
    else:
        app.add_connection("/signalr", Dispatcher(HubTable([Counts]), app.settings, clock=clock))
    return app


def refused(page: Page, answer: Any) -> str:
    assert set(answer) == {"I", "H", "E"} and answer["H"] is True
    return str(answer["E"])


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_client_is_told_which_limit_it_met(caplog: pytest.LogCaptureFixture) -> None:
    app = counts(max_call_arguments=2, max_argument_size=10)
    async with house(app) as home:
        page = await home.page("counts")
        assert (await page.call("counts", "count", 1, "x" * 8))["R"] == 2
        told = refused(page, await page.call("counts", "count", 1, 2, 3))
        assert told == "More than 2 arguments (max_call_arguments)."
        told = refused(page, await page.call("counts", "count", 1, "x" * 9))
        assert told == "More than 10 bytes in one argument (max_argument_size)."
        polling = await home.page("counts", transport="longPolling")
        assert refused(polling, await polling.call("counts", "count", 1, 2, 3))
        assert app.statistics().reactions == {"max_call_arguments": 2, "max_argument_size": 1}
    assert Counts.calls == 1 and not warnings_in(caplog)  # a limit is no reason to fill the log


async def test_state_has_a_size(caplog: pytest.LogCaptureFixture) -> None:
    app = counts(max_state_size=20)
    async with house(app) as home:
        page = await home.page("counts")
        assert (await page.call("counts", "state", state={"a": "x" * 10}))["R"] == 1
        answer = await page.call("counts", "state", state={"a": "x" * 13})
        assert answer == {"I": "1", "E": "State has exceeded the maximum length of 20 bytes."}
        polling = await home.page("counts", transport="longPolling")
        status, text = await polling.call("counts", "state", state={"a": "x" * 13})
        assert (status, text) == (500, "State has exceeded the maximum length of 20 bytes.")
        assert app.statistics().reactions == {"max_state_size": 2}


async def test_calls_a_second_are_a_bucket_that_fills_up_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    app = counts(clock, max_call_rate=4)
    async with house(app) as home:
        page, other = await home.page("counts"), await home.page("counts")

        async def counted(calls: int, who: Page = page) -> int:
            return sum(["R" in await who.call("counts", "count") for _ in range(calls)])

        assert await counted(6) == 4
        assert await counted(2, other) == 2
        clock.now += 0.5
        assert await counted(3) == 2
        clock.now += 60
        assert await counted(6) == 4
        told = refused(page, await page.call("counts", "count"))
        assert told == "More than 4 calls a second (max_call_rate)."
        told = refused(page, await page.call("nosuch", "nope", state=5))  # whatever it calls
        assert told == "More than 4 calls a second (max_call_rate)."
        assert app.statistics().reactions["max_call_rate"] == 7
    assert not warnings_in(caplog)


def test_a_rate_below_one_allows_a_first_call() -> None:
    member = Member((), Settings(max_call_rate=0.5), 100.0)
    assert [member.has_allowance(0.5, now) for now in (100.0, 101.0, 102.0, 103.0, 200.0, 200.0)] == [
        True, False, True, False, True, False,
    ]  # fmt: skip


def test_without_a_rate_nobody_counts() -> None:
    assert Member((), Settings(), 0.0).places is None


@pytest.mark.parametrize("levels", [20, 21, 3_000])
async def test_an_argument_has_a_depth(levels: int, caplog: pytest.LogCaptureFixture) -> None:
    async with house(counts(detailed_errors=True)) as home:
        page = await home.page("counts")
        page.say('{"H":"counts","M":"count","I":0,"A":[' + "[" * levels + "]" * levels + "]}")
        await page.listen()
        if levels == 20:
            assert page.answers["0"]["R"] == 1
        elif levels == 21:
            assert page.answers["0"]["E"] == "an argument is nested too deep"
        else:
            assert page.answers == {} and "it is nested too deep" in caplog.text
        assert (await page.call("counts", "count"))["R"] == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
