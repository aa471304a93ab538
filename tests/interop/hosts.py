"""The ASGI servers under which suites run: how each is started, and which tests are excused on which of them."""

from __future__ import annotations

import re
import socket
import sys
from dataclasses import dataclass

__all__ = ["EXCUSES", "HOSTS", "MOUNTS", "TELLS", "Excuse", "excuse", "free_port", "host_command"]

_UVICORN = ("uvicorn", "--port", "PORT", "--log-level", "warning")
_HYPERCORN = ("hypercorn", "--bind", "127.0.0.1:PORT")

HOSTS: dict[str, tuple[str, ...]] = {
    "uvicorn-httptools": (*_UVICORN, "--http", "httptools", "--ws", "websockets-sansio", "--ws-ping-interval", "0"),
    "uvicorn-websockets": (*_UVICORN, "--http", "httptools", "--ws", "websockets", "--ws-ping-interval", "86400"),
    "uvicorn-h11-wsproto": (*_UVICORN, "--http", "h11", "--ws", "wsproto", "--ws-ping-interval", "0"),
    "hypercorn-asyncio": (*_HYPERCORN, "-k", "asyncio"),
    "hypercorn-trio": (*_HYPERCORN, "-k", "trio"),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "PORT", "--log-level", "warning"),
    "daphne": ("daphne", "-b", "127.0.0.1", "-p", "PORT"),
}
"""Each with the settings that docs/howto/asgi.md recommends."""

MOUNTS = ("", "/prefix")
"""Where an app is: at the root, or in Starlette."""

TELLS = ("uvicorn", "hypercorn", "daphne")
"""Servers that wait for all of it; granian may cut WebSockets and callbacks short."""


@dataclass(frozen=True)
class Excuse:
    """Why tests cannot pass on a host. They are run nevertheless, and one that passes after all is a failure."""

    hosts: str
    tests: str
    """Regular expressions: the first fits the whole name of a host, the second a part of what pytest calls the test."""
    reason: str
    """What upstream says, or where it does so."""


EXCUSES: tuple[Excuse, ...] = (
    Excuse(
        "uvicorn-.*",
        r"test_python_client\.py::test_(hubs_)?over_websockets",
        "signalr-client-threads sends two Connection headers; uvicorn looks at the last one (its pull request 2002)",
    ),
    Excuse(
        "hypercorn-.*",
        r"test_python_client\.py::test_(hubs_)?over_websockets",
        "signalr-client-threads sends two Connection headers; hypercorn looks at the last one (protocol/h11.py)",
    ),
)
"""All of them. docs/howto/asgi.md tells users."""


def excuse(host: str, test: str) -> Excuse | None:
    """The excuse of a test on a host, if it has one."""
    for each in EXCUSES:
        if re.fullmatch(each.hosts, host) and re.search(each.tests, test):
            return each
    return None


def host_command(name: str, port: int, application: str, *more: str) -> list[str]:
    """How to start a host at a port, for an application `module:name`; `more` are options."""
    module, *options = [part.replace("PORT", str(port)) for part in HOSTS[name]]
    return [sys.executable, "-m", module, *options, *more, application]


def free_port() -> int:
    """Nobody listens there now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":  # for noxfile.py
    print("\n".join(HOSTS))
