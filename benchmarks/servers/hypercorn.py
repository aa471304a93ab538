"""hypercorn with a bare ASGI application."""

from __future__ import annotations

import asyncio

import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config

from .asgi import app
from .listening import listen

config = Config()
listening = listen()
config.bind = [f"fd://{listening.fileno()}"]
config.backlog = 8192
config.accesslog = None
config.keep_alive_max_requests = 1_000_000_000

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(serve(app, config))  # type: ignore[arg-type]
