"""The way to the event loop for threads that have none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread

from .errors import PersistconnError

if TYPE_CHECKING:
    from .app import App

__all__ = ["FromThread"]


class FromThread:
    """Runs things on the app's event loop from a thread that has none."""

    def __init__(self, app: App) -> None:
        self._app = app

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function(*args)` on the event loop, await what it gives, and return the result here.

        `app.from_thread.run(echo.broadcast, "hello")` works from any thread while the app is served. Raises
        PersistconnError when it is not, and on the event loop itself, where waiting would last for ever. Worker threads
        of a framework, in which a mounted app has not run yet, call it on the framework's loop.
        """
        token = self._app._token
        if token is not None and threading.get_ident() == self._app._thread:
            raise PersistconnError("from_thread.run was called on the event loop: await the function instead")
        begun = False

        async def on_the_loop() -> Any:
            nonlocal begun
            begun = True
            result = function(*args)
            return await result if hasattr(result, "__await__") else result

        try:
            return anyio.from_thread.run(on_the_loop, token=token)
        except RuntimeError:
            if begun or token is not None:
                raise
            raise PersistconnError("the app is not running; serve it first") from None
