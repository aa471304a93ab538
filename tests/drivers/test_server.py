"""Servers as a whole: addresses, TLS, limits, shutdown, signals."""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
import trustme
from wsproto.events import CloseConnection

from persistconn import App, Settings
from persistconn.drivers import Server, serve
from persistconn.drivers.listeners import bind, bind_unix
from persistconn.drivers.server import tls_context
from persistconn.errors import ConfigurationError
from persistconn.wire.http import Message
from tests.drivers.fake_host import FakeHost
from tests.drivers.peer import PATIENCE, Peer, connected, serving


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="platform: this machine has no IPv6")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# Addresses --------------------------------------------------------------------------------------


@ipv6
async def test_ipv6() -> None:
    async with serving(FakeHost(), listeners=bind("::1", 0)) as server, connected(server) as peer:
        assert server.addresses == (("::1", server.port),)
        assert await peer.get("/hello") == (200, b"hello")


async def test_several_hosts_share_one_port() -> None:
    hosts = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1", "127.0.0.2"]
    async with serving(FakeHost(), listeners=bind(hosts, 0)) as server:
        assert [address[0] for address in server.addresses] == hosts
        for host in hosts:
            async with await anyio.connect_tcp(host, server.port) as stream:
                assert await Peer(stream).get("/hello") == (200, b"hello")


async def test_a_unix_socket_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    host = FakeHost()
    async with serving(host, listeners=[bind_unix(path, mode=0o600)]) as server, connected(server) as peer:
        assert server.addresses == (str(path),)
        assert path.stat().st_mode & 0o777 == 0o600
        assert await peer.get("/hello") == (200, b"hello")
        await peer.upgrade()
        await peer.say("hi")
        assert await peer.hear() == "hi"
        assert host.the_exchange().request.client is None
        with pytest.raises(LookupError):
            _ = server.port
    assert not path.exists()


async def test_serve_reports_where_it_listens(tmp_path: Path) -> None:
    app = App(secret_keys=["sixteen or more characters"])
    app.add_page("/", b"<p>hello", "text/html")
    inherited = bind("127.0.0.1", 0)[0].socket
    for where in ({"port": 0}, {"uds": tmp_path / "socket"}, {"sockets": [inherited]}):
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                options: dict[str, Any] = where
                server = await tasks.start(partial(serve, app, handle_signals=False, **options))
                async with connected(server) as peer:
                    assert await peer.get("/") == (200, b"<p>hello")
                server.shutdown()


# TLS --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream_driver", [None, "anyio"], ids=["native", "anyio-stream"])
async def test_tls(stream_driver: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    host = FakeHost()
    async with (
        serving(host, tls=server_tls, stream_driver=stream_driver) as server,
        await anyio.connect_tcp("127.0.0.1", server.port, tls_hostname="localhost", ssl_context=client_tls) as stream,
    ):
        peer = Peer(stream)
        assert await peer.get("/hello") == (200, b"hello")
        size = 4_000_000
        await peer.send(b"GET /big?%d HTTP/1.1\r\nHost: x\r\n\r\n" % size)
        status, body = await peer.response()
        assert (status, len(body)) == (200, size)
        await peer.upgrade()
        assert host.the_exchange().request.scheme == "https"
        await peer.say("one", "two")
        assert [await peer.hear(), await peer.hear()] == ["one", "two"]
        await peer.say("close")
        assert await peer.hear() == CloseConnection(1000, "bye")
        await peer.send(peer.frame(CloseConnection(1000)))
        assert await peer.rest() == b""


@pytest.mark.parametrize("stream_driver", [None, "anyio"], ids=["native", "anyio-stream"])
async def test_a_tls_client_that_only_listens_hears_everything(
    stream_driver: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    host = FakeHost()
    async with (
        serving(host, tls=server_tls, stream_driver=stream_driver) as server,
        await anyio.connect_tcp("127.0.0.1", server.port, tls_hostname="localhost", ssl_context=client_tls) as stream,
    ):
        peer = Peer(stream)
        await peer.upgrade()
        for text in ("one", "two", "three", "four"):
            host.put(host.the_exchange(), Message(text))
            host.pump()
            assert await peer.hear() == text


@pytest.mark.parametrize("stream_driver", [None, "anyio"], ids=["native", "anyio-stream"])
async def test_a_handshake_that_fails_or_never_comes(stream_driver: Any, server_tls: ssl.SSLContext) -> None:
    host = FakeHost(Settings(head_timeout=0.2))
    async with serving(host, tls=server_tls, stream_driver=stream_driver) as server:
        async with connected(server) as silent, connected(server) as plain:
            await plain.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await plain.rest()
            assert await silent.rest() == b""
        while server.sockets:
            await anyio.lowlevel.checkpoint()


def test_certificates_from_files(tmp_path: Path, authority: trustme.CA) -> None:
    issued = authority.issue_cert("localhost")
    both = tmp_path / "both.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(both)
    assert tls_context(None) is None
    assert isinstance(tls_context(both), ssl.SSLContext)
    with pytest.raises(ConfigurationError, match="tls_cert is not"):
        tls_context(None, both)
    with pytest.raises(ConfigurationError, match=r"nothing\.pem cannot be used"):
        tls_context(tmp_path / "nothing.pem")


# Limits -----------------------------------------------------------------------------------------


async def test_one_socket_too_many_is_told_to_come_back() -> None:
    async with serving(FakeHost(Settings(max_sockets=2))) as server:
        async with connected(server) as first, connected(server) as second:
            assert await first.get("/hello") == (200, b"hello")
            assert await second.get("/hello") == (200, b"hello")
            async with connected(server) as third:
                await third.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = await third.rest()
                assert answer.startswith(b"HTTP/1.1 503 ")
                assert b"Retry-After: 5\r\n" in answer
        while server.sockets:
            await anyio.lowlevel.checkpoint()
        async with connected(server) as fourth:
            assert await fourth.get("/hello") == (200, b"hello")


# The end ----------------------------------------------------------------------------------------


async def test_shutdown_ends_what_can_end_and_answers_what_was_asked() -> None:
    host = FakeHost()
    async with (
        serving(host) as server,
        connected(server) as idle,
        connected(server) as streaming,
        connected(server) as deciding,
        connected(server) as fresh,
    ):
        assert await idle.get("/hello") == (200, b"hello")
        await streaming.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        await streaming.until(b"first")
        await deciding.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await idle.get("/hello") == (200, b"hello")
        server.shutdown()
        assert await idle.rest() == b""
        assert await fresh.rest() == b""
        assert (await streaming.rest()).endswith(b"0\r\n\r\n")
        with pytest.raises(OSError):
            await anyio.connect_tcp("127.0.0.1", server.port)
        host.gate.set()
        answer = await deciding.rest()
        assert b"connection: close" in answer.lower()
        assert answer.endswith(b"hello")


async def test_shutdown_does_not_wait_for_ever() -> None:
    host = FakeHost(Settings(drain_timeout=0.1))
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            server = Server(host, bind("127.0.0.1", 0), handle_signals=False)
            await tasks.start(server.run)
            async with connected(server) as peer:
                await peer.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
                async with connected(server) as other:
                    await other.get("/hello")
                server.shutdown()
                assert await peer.rest() == b""


async def test_cancelling_cuts_at_once() -> None:
    host = FakeHost()
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            server = Server(host, bind("127.0.0.1", 0), handle_signals=False)
            await tasks.start(server.run)
            async with connected(server) as peer:
                await peer.upgrade()
                tasks.cancel_scope.cancel()
    assert ("lost", "/ws") in host.told
    assert server.sockets == 0


async def test_a_signal_drains_and_a_second_one_cuts() -> None:
    host = FakeHost()
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            server = Server(host, bind("127.0.0.1", 0))
            await tasks.start(server.run)
            async with connected(server) as peer, connected(server) as held:
                await peer.upgrade()
                await held.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
                await held.send(b"")
                os.kill(os.getpid(), signal.SIGTERM)
                assert await peer.hear() == CloseConnection(1001, "going away")
                os.kill(os.getpid(), signal.SIGINT)
                assert await held.rest() == b""


async def test_a_load_balancer_has_time_to_notice() -> None:
    """Until `drain_notice` is over all goes on; a second signal ends that, too."""
    app = App(settings=Settings(drain_notice=600), secret_keys=["sixteen or more characters"])
    app.add_health("/health")
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            server = await tasks.start(partial(serve, app, port=0, handle_signals=False))
            async with connected(server) as peer:
                assert (await peer.get("/health"))[0] == 200
                server.shutdown()
                while (await peer.get("/health"))[0] == 200:
                    pass
                assert (await peer.get("/health"))[0] == 503
                async with connected(server) as newcomer:
                    assert (await newcomer.get("/health"))[0] == 503
                server.shutdown()
                assert await peer.rest() == b""


async def test_an_app_tells_its_clients_to_come_back() -> None:
    app = App(secret_keys=["sixteen or more characters"])
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            server = await tasks.start(partial(serve, app, port=0, handle_signals=False))
            async with connected(server) as peer:
                assert (await peer.get("/nothing"))[0] == 404
                server.shutdown()
                assert await peer.rest() == b""


# The log ----------------------------------------------------------------------------------------


async def test_the_access_log_has_a_line_per_exchange_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "persistconn.access")
    host = FakeHost()
    async with serving(host) as server:
        async with connected(server) as peer:
            await peer.get("/hello?transport=x&connectionToken=s3cr3t&na%0Ame=v")
            await peer.get("/hello%0d%0aforged")
            await peer.upgrade()
            await peer.say("hi")
            await peer.hear()
        await host.heard("lost")
        async with connected(server) as peer:
            await peer.send(b"NONSENSE\r\n\r\n")
            await peer.rest()
    lines = [record.getMessage() for record in caplog.records if record.name == "persistconn.access"]
    assert len(lines) == 4
    assert '"GET /hello?transport=x&connectionToken=…&na%0Ame=…" 200 ' in lines[0]
    assert '"GET /hello%0D%0Aforged" 200 ' in lines[1]
    assert '"GET /ws" 101 ' in lines[2]
    assert lines[2].endswith(" cut")
    assert lines[3].endswith(" refused: bad_request")


async def test_without_an_access_log_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "persistconn.access")
    async with serving(FakeHost(), access_log=False) as server, connected(server) as peer:
        await peer.get("/hello")
    assert not [record for record in caplog.records if record.name == "persistconn.access"]


async def test_a_fault_of_the_host_ends_one_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(FakeHost):
        async def open(self, *args: Any, **options: Any) -> Any:
            raise RuntimeError("a fault")

    async with serving(Faulty()) as server, connected(server) as peer, connected(server) as other:
        await peer.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await peer.rest() == b""
        assert await other.get("/hello") == (200, b"hello")
    assert "an error in the server" in caplog.text
