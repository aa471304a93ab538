"""Every exception of this package, and who is at fault.

::

    PersistconnError
    ├── ConfigurationError (ValueError)      a setting or argument of yours cannot work
    ├── ConnectionClosed                     you used a connection that has ended
    └── ProtocolError
        ├── LocalProtocolError               you broke a rule of the core; nothing has changed
        └── RemoteProtocolError              the peer broke the protocol; it carries the answer to give
"""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "ConnectionClosed",
    "LocalProtocolError",
    "PersistconnError",
    "ProtocolError",
    "RemoteProtocolError",
]


class PersistconnError(Exception):
    """The root of all exceptions that persistconn raises on purpose."""


class ConfigurationError(PersistconnError, ValueError):
    """A setting cannot work. The message names it, its value, and what to do.

    >>> from persistconn import Settings
    >>> Settings(disconnect_timeout=1)
    Traceback (most recent call last):
    ...
    persistconn.errors.ConfigurationError: disconnect_timeout is 1: it must be at least 6 seconds
    """


class ConnectionClosed(PersistconnError):
    """The connection has ended, so nothing can be sent to it any more.

    Clients go when they like, so this is no failure of a callback or a task of that connection: let it pass, unless you
    have something to undo. It is not logged as an error then. `on_disconnected` comes in any case.
    """


class ProtocolError(PersistconnError):
    """Somebody broke a protocol: see the two subclasses for who."""


class LocalProtocolError(ProtocolError):
    """The embedder called the core in a way its five rules forbid. Nothing has changed."""


class RemoteProtocolError(ProtocolError):
    """The peer sent something that is not allowed; `status` and `close_code` say what to answer.

    It never leaves the core: readers raise it and one place turns it into an answer.
    The message is one sentence that the peer may read, so it holds no secret.
    """

    def __init__(self, message: str, *, status: int = 400, close_code: int = 1002) -> None:
        super().__init__(message)
        self.status = status
        self.close_code = close_code
