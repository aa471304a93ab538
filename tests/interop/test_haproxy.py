"""Unmodified clients of both dialects behind a real HAProxy, configured as the documentation shows it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .aspnetcore_clients import NodeProcess
from .browser import HubPage
from .harness import ServerProcess
from .proxies import ProxyProcess, documented, free_port, program, survives_reloads

pytestmark = pytest.mark.own_server("behind a real proxy that is reloaded")


@pytest.fixture
def haproxy(prefixed_server: ServerProcess, tmp_path: Path) -> Iterator[ProxyProcess]:
    port = free_port()
    configuration = tmp_path / "haproxy.cfg"
    text = documented(
        "haproxy.cfg",
        **{
            "maxconn": "    maxconn 200",
            "hard-stop-after": "    hard-stop-after 20ms",
            "bind :443": f"    bind 127.0.0.1:{port}",
            "server chat": f"    server chat 127.0.0.1:{prefixed_server.port} check inter 1s",
        },
    )
    configuration.write_text(text)
    command = [program("haproxy"), "-Ws", "-q", "-f", str(configuration)]
    proxy = ProxyProcess(command, port, signal.SIGUSR2, says_ready_at=tmp_path / "ready")
    yield proxy
    proxy.close()


@pytest.mark.timeout(300)
def test_twenty_reloads_lose_and_repeat_nothing(
    prefixed_server: ServerProcess, haproxy: ProxyProcess, visit: Callable[..., HubPage], node: NodeProcess
) -> None:
    survives_reloads(prefixed_server, haproxy, visit, node)
