"""SIGTERM with a thousand open connections, of both dialects and on every transport: everybody is told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.crowd import crowd, names_of, read_all, untold

SERVER: Final = """
import sys
from collections import Counter
from functools import partial
import anyio
from persistconn import App, PersistentConnection, serve
from persistconn.hubs import Hub

told = Counter()

class Echo(PersistentConnection):
    async def on_disconnected(self, connection, reason):
        await anyio.sleep(0)
        told[f"{connection.dialect} {connection.transport} {reason}"] += 1

class Hall(Hub):
    async def on_disconnected(self, reason):
        told[f"hub {self.context.transport} {reason}"] += 1

async def main():
    app = App(secret_keys=["sixteen or more characters"])
    app.add_connection("/echo", Echo())
    app.add_hubs("/hall", Hall)
    async with anyio.create_task_group() as tasks:
        server = await tasks.start(partial(serve, app, port=0, access_log=False))
        print(server.port, flush=True)
    print(repr(dict(told)), flush=True)

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_everybody_is_told_and_the_process_ends(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    process = subprocess.Popen([sys.executable, str(script), backend], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        with crowd(int(process.stdout.readline())) as clients:
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            read_all(clients)
            told = process.stdout.read()
            assert process.wait(10) == 0
            assert time.monotonic() - began < 10
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert untold(clients) == {}
    assert eval(told) == names_of(clients)
