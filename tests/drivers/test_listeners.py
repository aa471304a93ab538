"""Binding, and accepting whatever happens."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from persistconn.drivers.listeners import accept_forever, bind, bind_unix
from persistconn.errors import ConfigurationError
from tests.drivers.peer import PATIENCE


def test_port_0_gives_one_port_for_all() -> None:
    listeners = bind(["127.0.0.1", "127.0.0.2"], 0)
    try:
        first, second = (listener.address for listener in listeners)
        assert (first[0], second[0]) == ("127.0.0.1", "127.0.0.2")
        assert first[1] == second[1] != 0
    finally:
        for listener in listeners:
            listener.close()


def test_a_name_is_all_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0)),  # not an address of this machine
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: infos)
    (listener,) = bind("a-name", 0)
    assert listener.address[0] == "127.0.0.1"
    listener.close()
    del infos[1:]
    with pytest.raises(ConfigurationError, match="cannot listen on a-name"):
        bind("a-name", 0)


def test_an_address_in_use_is_said_so() -> None:
    (listener,) = bind("127.0.0.1", 0)
    try:
        with pytest.raises(ConfigurationError, match=r"cannot listen on 127\.0\.0\.1 port \d+: .*in use"):
            bind(["127.0.0.2", "127.0.0.1"], int(listener.address[1]))
    finally:
        listener.close()


def test_no_host_is_no_server() -> None:
    with pytest.raises(ConfigurationError, match="empty list"):
        bind([], 0)


def test_a_stale_socket_file_is_replaced_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = bind_unix(path)
    with pytest.raises(ConfigurationError, match="another server does"):
        bind_unix(path)
    listener.close()
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="no socket"):
        bind_unix(path)
    assert path.read_text() == "precious"
    with pytest.raises(ConfigurationError, match="cannot listen"):
        bind_unix(tmp_path / "missing" / "socket")


def test_a_successors_socket_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    old = bind_unix(path)
    path.rename(tmp_path / "moved")
    new = bind_unix(path)
    old.close()
    assert path.exists()
    new.close()
    assert not path.exists()
    new.close()


class Unlucky:
    """A listening socket whose `accept` first fails in the given ways."""

    def __init__(self, sock: socket.socket, failures: list[int]) -> None:
        self.socket = sock
        self.failures = failures

    def accept(self) -> Any:
        if self.failures:
            raise OSError(self.failures.pop(0), "unlucky")
        return self.socket.accept()

    def fileno(self) -> int:
        return self.socket.fileno()


async def accept_one(failures: list[int]) -> list[float]:
    """Accept with these failures until one connection is there; how long it waited in between."""
    (listener,) = bind("127.0.0.1", 0)
    slept: list[float] = []
    accepted = anyio.Event()

    async def sleep(delay: float) -> None:
        slept.append(delay)
        await anyio.lowlevel.checkpoint()

    def attach(sock: socket.socket, client: object) -> None:
        sock.close()
        accepted.set()

    async def accept() -> None:
        await accept_forever(unlucky, attach, sleep=sleep)

    unlucky: Any = Unlucky(listener.socket, failures)
    try:
        with anyio.fail_after(PATIENCE), socket.create_connection(listener.socket.getsockname()):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(accept)
                await accepted.wait()
                tasks.cancel_scope.cancel()
    finally:
        listener.close()
    return slept


async def test_accepted_sockets_do_not_hold_small_writes_back_or_wait_for_ever() -> None:
    (listener,) = bind("127.0.0.1", 0)
    options: list[int] = []
    done = anyio.Event()

    def attach(sock: socket.socket, client: object) -> None:
        with sock:
            options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        done.set()

    with anyio.fail_after(PATIENCE), socket.create_connection(listener.socket.getsockname()):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(accept_forever, listener.socket, attach, user_timeout=7.5))
            await done.wait()
            tasks.cancel_scope.cancel()
    listener.close()
    assert options[0]
    assert options[1:] in ([], [7500])


async def test_accept_waits_longer_and_longer_while_the_system_has_no_room(caplog: pytest.LogCaptureFixture) -> None:
    kinds = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]
    assert await accept_one(kinds * 2) == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert caplog.text.count("cannot accept connections now") == 1


async def test_a_connection_that_fails_before_it_is_accepted_is_skipped() -> None:
    assert await accept_one([errno.ECONNABORTED, errno.EPROTO, errno.EPERM]) == []


async def test_a_listening_socket_that_is_none_ends_the_server() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await accept_one([errno.EINVAL])
    assert caught.group_contains(OSError, match="unlucky")


FEW_FILES = """
import os, resource, socket, sys
import anyio
from persistconn.drivers.listeners import bind
from persistconn.drivers.server import Server
from tests.drivers.fake_host import FakeHost
from tests.drivers.peer import connected

async def main():
    async with anyio.create_task_group() as tasks:
        server = Server(FakeHost(), bind("127.0.0.1", 0), handle_signals=False)
        await tasks.start(server.run)
        used = len(os.listdir("/proc/self/fd"))
        peers = [socket.create_connection(server.addresses[0]) for _ in range(30)]
        limit = len(os.listdir("/proc/self/fd")) + 10  # room for a third of the accepted halves
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        while server.sockets < 9:
            await anyio.sleep(0.01)
        for peer in peers[:20]:
            peer.close()
        last = peers[-1]
        last.setblocking(False)
        last.send(b"GET /hello HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        await anyio.wait_readable(last)
        print(last.recv(1000).decode())
        for peer in peers:
            peer.close()
        server.shutdown()

with_backend, options = eval(sys.argv[1])
anyio.run(main, backend=with_backend, backend_options=options)
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="platform: counts open files in /proc")
def test_a_process_without_free_files_serves_those_it_has_and_recovers(anyio_backend: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FEW_FILES, repr(anyio_backend)],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("HTTP/1.1 200 ")
