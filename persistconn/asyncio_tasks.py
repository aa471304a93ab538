"""Tasks of asyncio (and uvloop), as `tasks` describes them. Imported where an event loop of asyncio runs."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, _enter_task, _leave_task, current_task
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

import anyio

if TYPE_CHECKING:
    from .tasks import Parking

__all__ = ["AsyncioTasks"]

_DONE: Final = object()


class AsyncioTasks:
    """See `Tasks`. `logged` awaits what a task has to do, and logs its exception."""

    def __init__(self, logged: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self._logged = logged
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()

    def spawn(
        self, function: Callable[..., Awaitable[object]], *args: Any, ended: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """See `Tasks`."""
        task = self._loop.create_task(self._logged(function, args))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if ended is not None:
            task.add_done_callback(lambda _: ended())

        def cancel() -> None:
            task.cancel()

        return cancel

    @property
    def count(self) -> int:
        """See `Tasks`."""
        return len(self._running)

    def parking(self) -> Parking:
        """See `Tasks`."""
        return _AsyncioParking(self._loop)

    async def cancel(self) -> None:
        """Cancel all, and wait for them."""
        with anyio.CancelScope(shield=True):
            while self._running:
                for task in self._running:
                    task.cancel()
                await asyncio.wait(self._running)


def _rest(
    work: Coroutine[Any, Any, object], waits_for: Any, failure: BaseException | None
) -> Generator[Any, None, None]:
    """What is left of a coroutine that waits for something, or that `failure` has come to instead."""
    try:
        if failure is not None:
            waits_for = work.throw(failure)
        while True:
            try:
                yield waits_for
            except BaseException as error:
                waits_for = work.throw(error)
            else:
                waits_for = work.send(None)
    except StopIteration:
        pass


class _AsyncioParking:
    """Stands in for a future (`asyncio.isfuture` says what that takes), for one wait after the other.

    A future tells its task in the next round of the loop, at the price of a system call and of half an echo. This one
    can also run the task that waits at once, from a callback of the loop: the task takes its step as it always does.
    And what the task would do can begin without it (`begin`), at a third of the price of a step.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_begun",
        "_context",
        "_failure",
        "_loop",
        "_resume",
        "_task",
        "_waits",
        "_woken",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop  # a task looks for this in a future without `get_loop`, which would be a call more
        self._waits = False
        self._woken = False
        self._failure: BaseException | None = None
        """What the wait raises."""
        self._begun: tuple[Coroutine[Any, Any, object], Any] | None = None
        """What the wait has to finish first, and what that waits for."""
        self._task: asyncio.Task[Any] | None = None
        """Who waits here, always the same."""
        self._resume: Callable[[_AsyncioParking], object] | None = None
        """Lets the task go on; None: nobody waits, or it will go on in the next round."""
        self._context: Context | None = None

    def wake(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None:
            self._loop.call_soon(resume, self, context=self._context)
        elif not self._waits:
            self._woken = True

    def enter(self) -> None:
        resume, context = self._resume, self._context
        if resume is None or context is None or current_task(self._loop) is not None:
            self.wake()  # no task can run inside another
        else:
            self._resume = None
            context.run(resume, self)

    def begin(self, function: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """One task begins inside another, as an eager task of Python 3.12 does: each is the current one in its turn.

        So what `function` finds of its task and context, and the scopes it opens, are those of the task that goes on.
        And to cancel that before it has gone on cancels what the coroutine waits for, as if it had.
        """
        task, context = self._task, self._context
        if self._resume is None or self._begun is not None or task is None or context is None:
            self.wake()
            return False
        loop = self._loop
        running = current_task(loop)
        work = function()
        self._begun = work, None
        if running is not None:
            _leave_task(loop, running)
        _enter_task(loop, task)
        try:
            # Of its steps as an iterator, the end is cheaper to learn than that of `work.send(None)`, an exception.
            waits_for = context.run(next, work.__await__(), _DONE)
            if waits_for is _DONE:
                self._begun = None
                return True
            self._begun = work, waits_for
        except BaseException as error:
            self._begun = None
            self._failure = error
        finally:
            _leave_task(loop, task)
            if running is not None:
                _enter_task(loop, running)
        self.wake()
        return False

    def wait(self) -> Awaitable[None]:
        return self

    def __await__(self) -> Generator[Any, None, None]:
        if self._woken:
            self._woken = False
            return
        if self._task is None:
            self._task = current_task(self._loop)
        self._waits = self._asyncio_future_blocking = True
        failure: BaseException | None = None
        try:
            yield self
        except BaseException as error:
            if self._begun is None:
                raise
            failure = error
        finally:
            self._waits = False
            self._resume = None
        if self._begun is not None:
            (work, waits_for), self._begun = self._begun, None
            yield from _rest(work, waits_for, failure)

    # What the task asks of its future -----------------------------------------------------------

    def add_done_callback(self, resume: Callable[[_AsyncioParking], object], *, context: Context) -> None:
        self._resume = resume
        self._context = context

    def done(self) -> bool:
        return self._resume is None

    def cancel(self, msg: object = None) -> bool:
        if self._begun is not None and self._begun[1] is not None:
            return bool(self._begun[1].cancel(msg=msg))
        if self._resume is None and self._begun is None:
            return False
        self._failure = CancelledError() if msg is None else CancelledError(msg)  # anyio knows its own by that
        self.wake()
        return True

    def result(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
