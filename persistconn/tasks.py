"""Starting and waking tasks where anyio's own way costs too much per connection or per message.

On asyncio a task of an anyio task group takes five times the memory of a plain one, and an Event twice the
time of a future. User code notices nothing: anyio's scopes and task groups work in these tasks.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio

if TYPE_CHECKING:
    import asyncio

__all__ = ["Parking", "Tasks", "ends_this_task", "keep_house", "open_tasks"]

_logger = logging.getLogger("persistconn.tasks")

T = TypeVar("T")


class Parking(Protocol):
    """Where one task waits to be woken. Waking comes before or after waiting; one wake ends one wait."""

    def wake(self) -> None:
        """End the wait, or the next one."""

    def enter(self) -> None:
        """The same, and where the loop allows it the task goes on before this returns: the caller's last act."""

    def begin(self, function: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Await `function()` as if the task that waits here did. True: it is done.

        False: it has to wait, the task goes on with it, and the task's own wait ends when it does. Or nothing has
        begun, because no task waits or the loop (trio) allows no such thing: then this is `wake`.
        """
        ...

    def wait(self) -> Awaitable[None]:
        """Return when woken, or when what was begun is done."""
        ...


class Tasks(Protocol):
    """Tasks with an owner: all are cancelled, and waited for, when the owner's scope ends."""

    def spawn(
        self, function: Callable[..., Awaitable[object]], *args: Any, ended: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Run `function(*args)` in a task; what is given back cancels it. An exception of it is logged.

        `ended` is called when it is over, never before this returns.
        """
        ...

    def parking(self) -> Parking:
        """A new place to wait."""
        ...

    @property
    def count(self) -> int:
        """How many run."""
        ...


def _runs_trio() -> bool:
    """Whether this task runs on trio; nobody who does not use trio has to have it."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())


@asynccontextmanager
async def open_tasks() -> AsyncIterator[Tasks]:
    """Own tasks on whichever event loop runs."""
    if not _runs_trio():
        tasks = _AsyncioTasks()
        try:
            yield tasks
        finally:
            await tasks.cancel()
    else:
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            try:
                yield _TrioTasks(group)
            except Exception as error:  # as on asyncio: the caller's own, not a group with one member
                failure = error
            finally:
                group.cancel_scope.cancel()
        if failure is not None:
            raise failure


def keep_house(function: Callable[..., Awaitable[object]], *args: Any) -> object:
    """Run a task that lasts as long as the event loop: no scope owns it.

    On asyncio who keeps what is given back owns it; on trio it is a system task.
    """
    if _runs_trio():
        import trio

        return trio.lowlevel.spawn_system_task(_logged, function, args)
    import asyncio

    return asyncio.get_running_loop().create_task(_logged(function, args))


def ends_this_task(error: BaseException) -> bool:
    """Whether `error`, raised by a user's code, means the end of the task that runs it.

    On asyncio an awaited task of somebody else that was cancelled raises what one's own cancellation does.
    """
    if isinstance(error, Exception):
        return False
    if _runs_trio():
        return True
    import asyncio

    task = asyncio.current_task()
    return not isinstance(error, asyncio.CancelledError) or task is None or task.cancelling() > 0


async def _logged(function: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
    try:
        await function(*args)
    except Exception:
        _logger.exception("a task failed: %s", getattr(function, "__qualname__", function))


class _AsyncioTasks:
    def __init__(self) -> None:
        import asyncio

        self._asyncio = asyncio
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[None]] = set()

    def spawn(
        self, function: Callable[..., Awaitable[object]], *args: Any, ended: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        task = self._loop.create_task(_logged(function, args))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if ended is not None:
            task.add_done_callback(lambda _: ended())

        def cancel() -> None:
            task.cancel()

        return cancel

    @property
    def count(self) -> int:
        return len(self._running)

    def parking(self) -> Parking:
        return _AsyncioParking(self._asyncio, self._loop)

    async def cancel(self) -> None:
        with anyio.CancelScope(shield=True):
            while self._running:
                for task in self._running:
                    task.cancel()
                await self._asyncio.wait(self._running)


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
        "_asyncio",
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

    def __init__(self, module: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._asyncio = module  # an import for each message would cost as much as what is done with it
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
        if resume is None or context is None or self._asyncio.current_task(self._loop) is not None:
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
        asyncio, loop = self._asyncio, self._loop
        running = asyncio.current_task(loop)
        work = function()
        self._begun = work, None
        if running is not None:
            asyncio._leave_task(loop, running)
        asyncio._enter_task(loop, task)
        try:
            self._begun = work, context.run(work.send, None)
        except StopIteration:
            self._begun = None
            return True
        except BaseException as error:
            self._begun = None
            self._failure = error
        finally:
            asyncio._leave_task(loop, task)
            if running is not None:
                asyncio._enter_task(loop, running)
        self.wake()
        return False

    def wait(self) -> Awaitable[None]:
        return self

    def __await__(self) -> Generator[Any, None, None]:
        if self._woken:
            self._woken = False
            return
        if self._task is None:
            self._task = self._asyncio.current_task(self._loop)
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
        cancelled = self._asyncio.CancelledError
        self._failure = cancelled() if msg is None else cancelled(msg)  # anyio knows its own by that
        self.wake()
        return True

    def result(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


class _TrioTasks:
    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self._group = group
        self.count = 0

    def spawn(
        self, function: Callable[..., Awaitable[object]], *args: Any, ended: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        scope = anyio.CancelScope()

        async def run() -> None:
            try:
                with scope:
                    await _logged(function, args)
            finally:
                self.count -= 1
                if ended is not None:
                    ended()

        self.count += 1
        self._group.start_soon(run)
        return scope.cancel

    def parking(self) -> Parking:
        return _TrioParking()


class _TrioParking:
    __slots__ = ("_task", "_woken")

    def __init__(self) -> None:
        self._task: Any = None
        self._woken = False

    def wake(self) -> None:
        import trio

        task, self._task = self._task, None
        if task is None:
            self._woken = True
        else:
            trio.lowlevel.reschedule(task)

    def enter(self) -> None:
        self.wake()

    def begin(self, function: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        self.wake()
        return False

    async def wait(self) -> None:
        import trio

        if self._woken:
            self._woken = False
            await trio.lowlevel.checkpoint()
            return
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
