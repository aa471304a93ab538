"""Starting and waking tasks where anyio's own way costs too much per connection or per message.

On asyncio a task of an anyio task group takes five times the memory of a plain one, and an Event twice the
time of a future. User code notices nothing: anyio's scopes and task groups work in these tasks.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

import anyio

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
        from .asyncio_tasks import AsyncioTasks

        tasks = AsyncioTasks(_logged)
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


def when_this_task_has_ended(function: Callable[[], object]) -> None:
    """Call something then: on asyncio after what else waits for that; on trio soon, where nothing does."""
    if _runs_trio():
        import trio

        trio.lowlevel.current_trio_token().run_sync_soon(function)
        return
    import asyncio

    task = asyncio.current_task()
    assert task is not None
    task.add_done_callback(lambda _: function())


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
