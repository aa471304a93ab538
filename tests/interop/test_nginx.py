"""jquery.signalR 2.4.3 in Chromium behind a real nginx that buffers answers, as it does by default."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .aspnetcore_clients import NodeProcess
from .browser import ChatPage, HubPage
from .harness import ServerProcess
from .proxies import ProxyProcess, documented, free_port, program, survives_reloads

pytestmark = pytest.mark.own_server("behind a real nginx")

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
    nginx = program("nginx")
    home = tmp_path_factory.mktemp("nginx")
    port, plain_port = free_port(), free_port()
    configuration = Path(home, "nginx.conf")
    configuration.write_text(CONFIGURATION.format(home=home, port=port, plain_port=plain_port, target=server.port))
    process = subprocess.Popen([nginx, "-p", str(home), "-e", "stderr", "-c", str(configuration)])
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


@pytest.fixture
def documented_nginx(prefixed_server: ServerProcess, tmp_path: Path) -> Iterator[ProxyProcess]:
    """As the documentation shows it, where the old workers of a reload end soon."""
    port = free_port()
    configuration = Path(tmp_path, "nginx.conf")
    paths = [f"{name}_temp_path {tmp_path}/{name};" for name in ("proxy", "fastcgi", "uwsgi", "scgi")]
    text = documented(
        "nginx.conf",
        **{
            "worker_shutdown_timeout": f"user root; daemon off; pid {tmp_path}/pid; worker_shutdown_timeout 20ms;",
            "http {": f"http {{ access_log off; client_body_temp_path {tmp_path}/body; {' '.join(paths)}",
            "server unix:": f"server 127.0.0.1:{prefixed_server.port};",
            "listen 443": f"listen 127.0.0.1:{port};",
            "ssl_certificate ": "",
            "ssl_certificate_key ": "",
        },
    )
    if os.geteuid() != 0:
        text = text.replace("user root;", "")
    configuration.write_text(text)
    command = [program("nginx"), "-p", str(tmp_path), "-e", "stderr", "-c", str(configuration)]
    proxy = ProxyProcess(command, port, signal.SIGHUP)
    yield proxy
    proxy.close()


@pytest.mark.timeout(300)
def test_twenty_reloads_lose_and_repeat_nothing(
    prefixed_server: ServerProcess,
    documented_nginx: ProxyProcess,
    visit: Callable[..., HubPage],
    node: NodeProcess,
) -> None:
    survives_reloads(prefixed_server, documented_nginx, visit, node)
