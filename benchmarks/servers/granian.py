"""granian, in Rust, with a bare ASGI application: a parent and one worker."""

from __future__ import annotations

from granian import Granian
from granian.constants import Interfaces, Loops

from .listening import BACKLOG, free_port

if __name__ == "__main__":
    port = free_port()
    print(port, flush=True)
    Granian(
        "benchmarks.servers.asgi:app",
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        backlog=BACKLOG,
        log_enabled=False,
    ).serve()
