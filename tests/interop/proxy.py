"""A proxy between browser and server, on loopback, that misbehaves as real ones do."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import dataclass, field

from .harness import ServerProcess

__all__ = ["Proxy"]

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
REQUEST = re.compile(rb"[A-Z]+ \S+ HTTP/1")
STREAM = re.compile(rb"[A-Z]+ \S+/(?:connect|reconnect|poll)\?|GET \S+[?&]id=")


@dataclass(eq=False)
class _Line:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    dead: threading.Event = field(default_factory=threading.Event)
    carries_stream: bool = False
    """The newest request was for a transport; else for something that is over soon."""

    def close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Forwards TCP to a server. `refuse_upgrades`: answers 403 to whoever asks for a WebSocket;
    `hold_event_streams`: keeps back the body of an event stream, as a buffering proxy does."""

    def __init__(
        self, server: ServerProcess, *, refuse_upgrades: bool = False, hold_event_streams: bool = False
    ) -> None:
        self._target = server.port
        self._mount = server.mount
        self._refuse_upgrades = refuse_upgrades
        self._hold_event_streams = hold_event_streams
        self._lines: list[_Line] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.refused = 0
        self._open_to_newcomers = threading.Event()
        self._open_to_newcomers.set()
        self._start(self._accept)

    @property
    def url(self) -> str:
        """Where the app is, through here."""
        return f"http://127.0.0.1:{self.port}{self._mount}"

    def go_dead(self) -> None:
        """From now on nothing passes on the connections that carry a transport, and nobody is told.

        The others are closed, and new ones work: a browser would reuse them, and wait on each for minutes.
        """
        for line in self._lines:
            if line.carries_stream:
                line.dead.set()
            else:
                line.close()

    def cut(self) -> None:
        """Close the connections that carry a transport; both ends see it at once."""
        for line in self._lines:
            if line.carries_stream:
                line.close()

    def hold(self) -> None:
        """From now on new connections are accepted, and then nothing happens on them: see `let_through`."""
        self._open_to_newcomers.clear()

    def let_through(self) -> None:
        """Those that were held go on, and new ones are served as ever."""
        self._open_to_newcomers.set()

    def close(self) -> None:
        self.let_through()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in self._lines:
            line.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._start(self._open, client)

    def _open(self, client: socket.socket) -> None:
        head = b""
        with contextlib.suppress(OSError):
            while b"\r\n\r\n" not in head:
                data = client.recv(65_536)
                if not data:
                    break
                head += data
        if b"\r\n\r\n" not in head:
            client.close()
            return
        self._open_to_newcomers.wait()
        if self._refuse_upgrades and b"upgrade: websocket" in head.lower():
            self.refused += 1
            client.sendall(FORBIDDEN)
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        line = _Line(client, server)
        self._lines.append(line)
        self._start(self._forward, line, head)
        self._start(self._return, line)

    def _forward(self, line: _Line, data: bytes) -> None:
        """From client to server, beginning with what was read already."""
        with contextlib.suppress(OSError):
            while data:
                if REQUEST.match(data):
                    line.carries_stream = STREAM.match(data) is not None
                if not line.dead.is_set():
                    line.server.sendall(data)
                data = line.client.recv(65_536)
            if not line.dead.is_set():
                line.server.shutdown(socket.SHUT_WR)

    def _return(self, line: _Line) -> None:
        """From server to client."""
        held = False
        with contextlib.suppress(OSError):
            while data := line.server.recv(65_536):
                held = held or (self._hold_event_streams and b"text/event-stream" in data)
                if not (held or line.dead.is_set()):
                    line.client.sendall(data)
            if not line.dead.is_set():
                line.client.shutdown(socket.SHUT_WR)
