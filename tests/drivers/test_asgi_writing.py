"""Who awaits an ASGI server's `send`, and what servers and middleware may do in it.

On asyncio it is begun inside whoever sends, in the name of the task that writes. A server notices nothing of that.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from persistconn import App, PersistentConnection
from tests.drivers.asgi_client import AsgiClient, Call
from tests.line import settle

Send = Callable[[Any], Any]

who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


class Broadcast(PersistentConnection):
    """Says what it is told to."""


class Served:
    """An app behind middleware that has its own way of sending."""

    def __init__(self, middleware: Callable[[Send], Send]) -> None:
        self.connection = Broadcast()
        self.middleware = middleware
        self._app = App(secret_keys=["sixteen or more characters"])
        self._app.add_connection("/all", self.connection)

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        who.set("the server")
        await self._app(scope, receive, self.middleware(send))

    @asynccontextmanager
    async def clients(self, count: int) -> AsyncIterator[list[Call]]:
        async with AsgiClient.of(self) as client:
            calls = [(await client.classic("/all", "webSockets"))[1] for _ in range(count)]
            await settle()
            yield calls

    async def say(self, what: Any) -> None:
        await self.connection.broadcast(what)


def is_now(message: Any) -> bool:
    return '"now"' in message.get("text", "")


async def hears(call: Call, mark: str) -> None:
    await call.until(lambda: any(mark in message.get("text", "") for message in call.sent))


# What `send` finds ------------------------------------------------------------------------------


async def test_send_finds_the_context_and_the_task_of_who_writes() -> None:
    seen: dict[Send, list[tuple[str, int]]] = {}

    def notes(send: Send) -> Send:
        async def noting(message: Any) -> None:
            if is_now(message):
                seen.setdefault(send, []).append((who.get(), anyio.get_current_task().id))
            await send(message)

        return noting

    async with Served(notes).clients(3) as calls:
        who.set("the sender")
        me = anyio.get_current_task().id
        for _ in range(2):
            await calls[0].application.say("now")
            for call in calls:
                await call.message()
        assert anyio.get_current_task().id == me
        assert who.get() == "the sender"
    assert [said for each in seen.values() for said, _ in each] == ["the server"] * 6
    tasks = [{task for _, task in each} for each in seen.values()]
    assert all(len(one) == 1 for one in tasks), "a client has one task that writes"
    assert len(set.union(*tasks, {me})) == 4


@pytest.mark.parametrize("waits", [False, True])
async def test_scopes_and_timeouts_around_send_belong_to_who_writes(waits: bool, anyio_backend_name: str) -> None:
    def in_scopes(send: Send) -> Send:
        async def scoped(message: Any) -> None:
            with anyio.CancelScope(shield=True), anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    if waits:
                        tasks.start_soon(anyio.lowlevel.checkpoint)
                    await send(message)

        async def timed(message: Any) -> None:
            async with asyncio.timeout(5):
                if waits:
                    await asyncio.sleep(0)
                await scoped(message)

        return timed if anyio_backend_name == "asyncio" else scoped

    served = Served(in_scopes)
    async with served.clients(3) as calls:
        for number in range(5):
            with anyio.fail_after(5):
                await served.say(number)
                assert [await call.message() for call in calls] == [number] * 3
    assert not anyio.get_current_task().has_pending_cancellation()


async def test_a_scope_that_ends_send_ends_nothing_else() -> None:
    """What middleware gives up is its own affair, and costs the client that one message."""
    given_up: list[Any] = []

    def impatient(send: Send) -> Send:
        async def sending(message: Any) -> None:
            if is_now(message):
                with anyio.move_on_after(0):
                    await anyio.sleep_forever()
                given_up.append(message)
            else:
                await send(message)

        return sending

    served = Served(impatient)
    async with served.clients(2) as calls:
        await served.say("now")
        await served.say("later")
        assert [await call.message() for call in calls] == ["later"] * 2
    assert len(given_up) == 2


async def test_send_may_be_any_function_that_gives_something_to_await(anyio_backend_name: str) -> None:
    class Given:
        def __init__(self, work: Awaitable[None]) -> None:
            self.work = work

        def __await__(self) -> Any:
            return self.work.__await__()

    async with Served(lambda send: lambda message: Given(send(message))).clients(2) as calls:
        await calls[0].application.say("hello")
        assert [await call.message() for call in calls] == ["hello"] * 2

    if anyio_backend_name == "asyncio":
        async with Served(lambda send: lambda message: asyncio.ensure_future(send(message))).clients(2) as calls:
            await calls[0].application.say("hello")
            assert [await call.message() for call in calls] == ["hello"] * 2


async def test_each_client_has_messages_of_its_own() -> None:
    """Middleware may change them."""

    def counts(send: Send) -> Send:
        async def sending(message: Any) -> None:
            message["seen"] = message.get("seen", 0) + 1
            await send(message)

        return sending

    async with Served(counts).clients(3) as calls:
        await calls[0].application.say("hello")
        for call in calls:
            await call.message()
            assert {message["seen"] for message in call.sent} == {1}


async def test_send_may_itself_send_to_everybody() -> None:
    def echoes(send: Send) -> Send:
        async def sending(message: Any) -> None:
            await send(message)
            if is_now(message):
                await served.say("again")

        return sending

    served = Served(echoes)
    async with served.clients(2) as calls:
        await served.say("now")
        for call in calls:
            assert await call.message() == "now"
            await hears(call, '"again"')


# When `send` waits, fails or is cancelled -------------------------------------------------------


async def test_a_client_that_makes_send_wait_keeps_nobody_else_waiting() -> None:
    served = Served(lambda send: send)
    async with served.clients(3) as calls:
        calls[0].block()
        before = len(calls[0].sent)
        for number in range(3):
            await served.say(number)
        for call in calls[1:]:
            await hears(call, "2]")
        assert len(calls[0].sent) == before
        calls[0].block(False)
        assert await calls[0].message() == 0


@pytest.mark.parametrize("at_once", [False, True])
async def test_what_send_had_begun_is_cancelled_with_its_client(at_once: bool, anyio_backend_name: str) -> None:
    begun = 0
    ended: list[str] = []

    def holds(send: Send) -> Send:
        async def holding(message: Any) -> None:
            nonlocal begun
            if is_now(message):
                begun += 1
                task = anyio.get_current_task().id
                try:
                    with anyio.CancelScope():
                        await anyio.sleep_forever()
                finally:
                    assert anyio.get_current_task().id == task
                    ended.append(who.get())
            await send(message)

        return holding

    served = Served(holds)
    async with served.clients(2) as calls:
        await served.say("now")
        if not at_once:
            await settle()
        calls[0].cancel.cancel()
        calls[1].say("websocket.disconnect", code=1006)
        for call in calls:
            await call.ended()
    assert ended == ["the server"] * begun
    assert begun == 2 or (at_once and anyio_backend_name == "trio")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_send_that_fails_ends_its_client_and_no_other(waits: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fails(send: Send) -> Send:
        async def failing(message: Any) -> None:
            if is_now(message):
                if waits:
                    await anyio.lowlevel.checkpoint()
                raise RuntimeError("the socket is gone")
            await send(message)

        return failing if not made else send

    made: list[Call] = []
    served = Served(fails)
    with caplog.at_level(logging.INFO):
        async with AsgiClient.of(served) as client:
            _, first = await client.classic("/all", "webSockets")
            made.append(first)
            _, second = await client.classic("/all", "webSockets")
            await settle()
            await served.say("now")
            await first.ended()
            assert await second.message() == "now"
            await served.say("later")
            assert await second.message() == "later"
    assert not [record for record in caplog.records if record.name.startswith("persistconn")]


async def test_a_send_that_was_cancelled_ends_its_client_and_not_who_sends(anyio_backend_name: str) -> None:
    """As when the server awaits a task of its own that somebody has cancelled."""
    if anyio_backend_name == "trio":
        return  # nobody but its own scope can cancel a task there

    def cancelled(send: Send) -> Send:
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()

        async def sending(message: Any) -> None:
            await (gone if is_now(message) else send(message))

        return sending

    served = Served(cancelled)
    async with served.clients(2) as calls:
        await served.say("now")
        for call in calls:
            await call.ended()
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="platform: Python 3.12 brought eager tasks")
async def test_tasks_may_be_eager(anyio_backend_name: str) -> None:
    if anyio_backend_name == "trio":
        return
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        return  # that of uvloop gives a factory more than those of older Pythons take
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]

    def in_a_task(send: Send) -> Send:
        async def sending(message: Any) -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(send(message))

        return sending

    try:
        served = Served(in_a_task)
        async with served.clients(2) as calls:
            me = asyncio.current_task()
            calls[0].block()
            await served.say("hello")
            assert asyncio.current_task() is me
            assert await calls[1].message() == "hello"
            calls[0].block(False)
            assert await calls[0].message() == "hello"
    finally:
        loop.set_task_factory(None)
