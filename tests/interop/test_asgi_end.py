"""SIGTERM and `--reload` on ASGI servers that would wait for clients as long as those like."""

from __future__ import annotations

import ast
import contextlib
import time
from pathlib import Path

import pytest

from tests.crowd import KINDS, crowd, names_of, read_all, untold

from .asgi_hosts import HostProcess

pytestmark = pytest.mark.own_server("starts hosts itself")

APPLICATION = "tests.interop.servers.asgi_crowd:app"


@pytest.mark.parametrize("name", ["uvicorn-httptools", "hypercorn-asyncio", "hypercorn-trio"])
def test_a_thousand_clients_are_told_and_the_process_ends(name: str) -> None:
    pytest.importorskip(name.partition("-")[0])
    more = ("--graceful-timeout", "30") if name.startswith("hypercorn") else ()  # or it would cut after three
    with contextlib.closing(HostProcess(name, APPLICATION, *more)) as host:
        with crowd(host.port) as clients:
            began = time.monotonic()
            host.ask_to_end()
            read_all(clients)
            host.wait()
            assert time.monotonic() - began < 10
        assert untold(clients) == {}
        assert ast.literal_eval(host.log.partition("told: ")[2].splitlines()[0]) == names_of(clients)
        assert "Traceback" not in host.log


def test_reload_does_not_wait_for_clients(tmp_path: Path) -> None:
    """From the moment that uvicorn has noticed the change (it looks four times a second) to its starting anew.

    How long the new process takes to start is not ours, and the machine's.
    """
    pytest.importorskip("uvicorn")
    module = tmp_path / "reloaded.py"
    module.write_text("from tests.interop.servers.asgi_crowd import app, inner\n")
    options = ("--reload", "--reload-dir", str(tmp_path), "--app-dir", str(tmp_path))
    with contextlib.closing(HostProcess("uvicorn-httptools", "reloaded:app", *options)) as host:
        with crowd(host.port, len(KINDS)) as clients:
            module.write_text(f"{module.read_text()}inner.add_page('/new', b'new', 'text/plain')\n")
            host.says("Reloading...")
            noticed = time.monotonic()
            read_all(clients)
            host.says("told: ")
            assert time.monotonic() - noticed < 3
            assert host.get("/new") == (200, "new")  # the socket was open all the time
        assert untold(clients) == {}
        host.terminate()
