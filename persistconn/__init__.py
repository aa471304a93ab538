"""Persistent connections for Python: WebSocket, server-sent events or long polling, whichever gets through.

Subclass `PersistentConnection`, mount it on an `App`, and serve that with `serve`, `persistconn serve`
or any ASGI server. SignalR clients connect unmodified.

The names are imported when first used, so that `persistconn.protocol` can be used without anyio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import App as App
    from .bus.post import Payload as Payload
    from .connection import Connection as Connection
    from .connection import Group as Group
    from .connection import Groups as Groups
    from .connection import Identity as Identity
    from .connection import PersistentConnection as PersistentConnection
    from .connection import Redirect as Redirect
    from .connection import Refusal as Refusal
    from .connection import Reply as Reply
    from .drivers.server import serve as serve
    from .errors import ConfigurationError as ConfigurationError
    from .errors import ConnectionClosed as ConnectionClosed
    from .errors import LocalProtocolError as LocalProtocolError
    from .errors import PersistconnError as PersistconnError
    from .errors import ProtocolError as ProtocolError
    from .errors import RemoteProtocolError as RemoteProtocolError
    from .protocol.outputs import DisconnectReason as DisconnectReason
    from .protocol.replay import Replay as Replay
    from .settings import Settings as Settings
    from .wire.format import Format as Format
    from .wire.http import Request as Request

__version__ = "0.1.0"

_HOMES = {
    "App": "app",
    "ConfigurationError": "errors",
    "Connection": "connection",
    "ConnectionClosed": "errors",
    "DisconnectReason": "protocol.outputs",
    "Format": "wire.format",
    "Group": "connection",
    "Groups": "connection",
    "Identity": "connection",
    "LocalProtocolError": "errors",
    "Payload": "bus.post",
    "PersistconnError": "errors",
    "PersistentConnection": "connection",
    "ProtocolError": "errors",
    "Redirect": "connection",
    "Refusal": "connection",
    "RemoteProtocolError": "errors",
    "Replay": "protocol.replay",
    "Reply": "connection",
    "Request": "wire.http",
    "Settings": "settings",
    "serve": "drivers.server",
}

__all__ = [
    "App",
    "ConfigurationError",
    "Connection",
    "ConnectionClosed",
    "DisconnectReason",
    "Format",
    "Group",
    "Groups",
    "Identity",
    "LocalProtocolError",
    "Payload",
    "PersistconnError",
    "PersistentConnection",
    "ProtocolError",
    "Redirect",
    "Refusal",
    "RemoteProtocolError",
    "Replay",
    "Reply",
    "Request",
    "Settings",
    "__version__",
    "serve",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
