"""A listening socket whose port the benchmark knows, and uvicorn on it."""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["free_port", "listen", "run_uvicorn"]

BACKLOG = 8192


def listen() -> socket.socket:
    """Listen, and print the port."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(BACKLOG)
    print(listening.getsockname()[1], flush=True)
    return listening


def free_port() -> int:
    """For servers that take no socket."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_uvicorn(app: Any) -> None:
    """uvicorn at its best: uvloop, httptools, the sans-I/O half of `websockets`, no access log, no deflate, no pings.

    The load answers none while others have their turn, so on a busy machine it would lose its connections.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        log_level="error",
        access_log=False,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
        lifespan="off",
    )
    uvicorn.Server(config).run(sockets=[listen()])
