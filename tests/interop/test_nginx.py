"""jquery.signalR 2.4.3 in Chromium behind a real nginx that buffers answers, as it does by default."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .browser import ChatPage
from .harness import ServerProcess

OpenPage = Callable[..., ChatPage]

CONFIGURATION = """
daemon off;
master_process off;
pid {home}/nginx.pid;
error_log stderr error;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{target};
            proxy_set_header Host $http_host;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
    server {{
        listen 127.0.0.1:{plain_port};
        location / {{
            proxy_pass http://127.0.0.1:{target};
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


@dataclass
class Nginx:
    origin: str
    """Passes WebSockets on, speaks HTTP/1.1 to the server."""
    plain_origin: str
    """Knows nothing of WebSockets and speaks HTTP/1.0 to the server: what `proxy_pass` alone does."""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "nginx ended"
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="package")
def nginx(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("platform: nginx is not installed")
    home = tmp_path_factory.mktemp("nginx")
    port, plain_port = _free_port(), _free_port()
    configuration = Path(home, "nginx.conf")
    configuration.write_text(CONFIGURATION.format(home=home, port=port, plain_port=plain_port, target=server.port))
    process = subprocess.Popen([program, "-p", str(home), "-e", "stderr", "-c", str(configuration)])
    try:
        _wait_until_it_listens(process, plain_port)
        yield Nginx(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{plain_port}")
    finally:
        process.terminate()
        process.wait(10)


def test_every_transport_works_and_recovers(
    server: ServerProcess, nginx: Nginx, open_page: OpenPage, transport: str
) -> None:
    page = open_page(nginx.origin, transport=transport).start()
    page.until_received({"welcome": page.id})
    page.send("0123456789abcde\n" * 3840)
    page.until_received({"echo": "0123456789abcde\n" * 3840})
    page.forget()
    server.order("cut", id=page.id)
    texts = [f"message {number}" for number in range(200)]
    server.order("send every way", id=page.id, group="lobby", texts=texts)
    event = server.wait("reconnected", id=page.id)
    assert (event["recovered"], event["missed"]) == (True, 0)
    page.until_received(texts[-1])
    assert page.received == texts
    page.stop()
    server.wait("disconnected", id=page.id, reason="closed", within=5)


def test_where_only_plain_http_passes_the_page_falls_back_and_nothing_is_held_back(
    server: ServerProcess, nginx: Nginx, open_page: OpenPage
) -> None:
    page = open_page(nginx.plain_origin).start(transport="auto")
    assert page.transport == "serverSentEvents"
    for number in range(5):
        page.send(f"text {number}")
        page.until_received({"echo": f"text {number}"}, within=3)
    page.stop()
    server.wait("disconnected", id=page.id, reason="closed", within=5)
    assert len(server.events("connected", id=page.id)) == 1


@pytest.mark.parametrize("transport", ["serverSentEvents", "longPolling", "foreverFrame"])
def test_http_1_0_to_the_server_carries_all_but_websockets(
    server: ServerProcess, nginx: Nginx, open_page: OpenPage, transport: str
) -> None:
    page = open_page(nginx.plain_origin, transport=transport).start()
    texts = [f"message {number}" for number in range(200)]
    server.order("send every way", id=page.id, group="lobby", texts=texts)
    page.until_received(texts[-1])
    assert page.received == [{"welcome": page.id}, *texts]
