"""How an application on somebody else's server learns that the end is near, before the server acts on it.

ASGI says so too late: servers send `lifespan.shutdown` when all requests have ended, and ours last as long as clients
like. That a server closes a WebSocket with 1012 says nothing: the close code of a client arrives in the same words, and
whoever took it for the end of the server would let any client end all others.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import anyio.lowlevel

__all__ = ["Signals", "word_of_parent"]

_NUMBERS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name))
_DOES_NOTHING: Final = "_sighandler_noop"
"""What asyncio installs for `loop.add_signal_handler`."""


class Signals:
    """Stands before the server's own handlers: a signal is held back until `hand_on`, or until the same comes again.

    `heard` is called on the event loop, for the first one and when there is no time any more. Only in the main thread;
    elsewhere it hears nothing.
    """

    def __init__(self, heard: Callable[[], object]) -> None:
        self._heard = heard
        self._call = _caller()
        self._before: dict[int, Any] = {}
        """The handlers that stood there."""
        self._held: list[int] = []
        self._known: set[int] = set()
        """Those that came, here or to an app that stands before this one."""
        self._is_warned = False
        self._ended = False

    def listen(self) -> None:
        """From now on. What is ignored stays ignored, and what was not installed by Python is left alone."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _NUMBERS:
            before = signal.getsignal(number)
            if before is None or before == signal.SIG_IGN:
                continue
            try:
                self._install(number, self._hear, before)
            except ValueError:  # a subinterpreter
                return
            self._before[number] = before

    @property
    def holds(self) -> bool:
        """The server does not know yet."""
        return any(not self._is_of_loop(number) for number in self._known)

    def hand_on(self) -> None:
        """Give what was held back to those for whom it was meant, and go."""
        # In a callback of the loop, where trio does not raise KeyboardInterrupt in the middle of a task.
        self._call(self.stop)

    def stop(self) -> None:
        """The same at once. A handler that somebody put before ours stays."""
        self._ended = True
        ours = {number for number in self._before if signal.getsignal(number) == self._hear}
        for number in ours:
            self._install(number, _what_is_left_of(self._before[number]), self._before[number])
        held, self._held = self._held, []
        for number in held:
            if number not in ours:
                self._pass(number, None)
            elif not self._is_of_loop(number):
                signal.raise_signal(number)
            elif self._below(number) is not None:
                self._pass(number, None)  # without waking the loop, which would call its handler once more

    def _below(self, number: int) -> Signals | None:
        """Those of another app, which stood there."""
        owner = getattr(self._before[number], "__self__", None)
        return owner if isinstance(owner, Signals) else None

    def _is_of_loop(self, number: int) -> bool:
        below = self._below(number)
        return _is_of_loop(self._before[number]) if below is None else below._is_of_loop(number)

    def _install(self, number: int, handler: Any, before: object) -> None:
        signal.signal(number, handler)
        if _is_of_loop(before):
            signal.siginterrupt(number, False)  # as asyncio wants it, and `signal.signal` does not leave it

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._ended:  # whoever came after us still knows us
            self._pass(number, frame)
            return
        is_again = number in self._held
        self._held.append(number)
        self._known.add(number)
        try:
            if is_again or not self._is_warned:
                self._warn(number)
        except RuntimeError:  # the loop has ended, or rests
            is_again = True
        if is_again:
            self.stop()

    def _warn(self, number: int) -> None:
        """Several apps in one process end side by side, although the signal goes from one to the next."""
        self._is_warned = True
        self._known.add(number)
        self._call(self._heard)
        below = self._below(number)
        if below is not None and not below._ended:
            below._warn(number)

    def _pass(self, number: int, frame: FrameType | None) -> None:
        before = self._before[number]
        if callable(before):
            before(number, frame)
        else:
            signal.signal(number, before)
            signal.raise_signal(number)


def word_of_parent() -> Callable[[], bool] | None:
    """Whether the parent process wants this one to end, as workers of hypercorn ask: it sends them no signals.

    What it set up for that is among the arguments with which it started them. multiprocessing has no public name for
    these; where they are called otherwise one day, this finds nothing.
    """
    if multiprocessing.parent_process() is None:
        return None
    from multiprocessing.synchronize import Event  # not on every system

    event = getattr(multiprocessing.current_process(), "_kwargs", {}).get("shutdown_event")
    return event.is_set if isinstance(event, Event) else None  # what else has that name may block, and fail


def _what_is_left_of(handler: Any) -> Any:
    """`asyncio.run` puts its handler of SIGINT away if that is found there; tasks without an owner end only then."""
    main = getattr(handler, "keywords", {}).get("main_task")
    return signal.default_int_handler if main is not None and main.done() else handler


def _is_of_loop(handler: object) -> bool:
    """asyncio and uvloop learn of their signals by the wakeup descriptor, whatever stands in for their handler."""
    return getattr(handler, "__name__", "") == _DOES_NOTHING or hasattr(
        getattr(handler, "__self__", None), "add_signal_handler"
    )


def _caller() -> Callable[[Callable[[], object]], object]:
    """Calls something on this event loop, from anywhere. Raises RuntimeError when it does not run."""
    token: Any = anyio.lowlevel.current_token().native_token
    if hasattr(token, "run_sync_soon"):
        on_trio: Callable[[Callable[[], object]], object] = token.run_sync_soon
        return on_trio

    def on_asyncio(function: Callable[[], object]) -> object:
        if not token.is_running():  # a console, or a plugin of pytest, goes on with it later, or never
            raise RuntimeError("the event loop rests")
        return token.call_soon_threadsafe(function)

    return on_asyncio
