"""ASGI servers in processes of their own, and a client of sockets that talks with what they serve."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from typing import Any
from urllib.parse import quote

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, RejectConnection, Request, TextMessage

from .harness import ROOT
from .hosts import free_port, host_command

__all__ = ["HostProcess", "Socket", "Stream"]

PATIENCE = 9.0
_APPLICATION = "tests.interop.servers.asgi_application:app"


class HostProcess:
    """One server, listening."""

    def __init__(self, name: str, application: str = _APPLICATION, *more: str) -> None:
        self.name = name
        self.port = free_port()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed with the process
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        self._process = subprocess.Popen(
            host_command(name, self.port, application, *more),
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                assert self.get("/ready") == (200, "ready")
                break
            except OSError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.log
                time.sleep(0.05)

    @property
    def log(self) -> str:
        """All it has printed."""
        self._log.seek(0)
        return self._log.read()

    def terminate(self) -> float:
        """Ask it to end: how many seconds that took."""
        begun = time.monotonic()
        self.ask_to_end()
        self.wait()
        return time.monotonic() - begun

    def ask_to_end(self) -> None:
        """And do not wait for that."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait(PATIENCE)

    def says(self, mark: str) -> None:
        """Wait until it has printed that."""
        deadline = time.monotonic() + PATIENCE
        while mark not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    # HTTP ---------------------------------------------------------------------------------------

    def get(self, target: str, *, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def post(self, target: str, body: bytes = b"") -> tuple[int, str]:
        return self.get(target, method="POST", body=body)

    # Dialects -----------------------------------------------------------------------------------

    def classic(self, mount: str, transport: str, more: str = "") -> tuple[str, Any]:
        """Negotiate, connect and start: the query, and the WebSocket or stream."""
        status, answer = self.get(f"{mount}/negotiate?clientProtocol=2.1{more}")
        assert status == 200, answer
        negotiated = json.loads(answer)
        assert negotiated["Url"] == mount
        query = f"transport={transport}&clientProtocol=2.1{more}"
        query += f"&connectionToken={quote(negotiated['ConnectionToken'], safe='')}"
        target = f"{mount}/connect?{query}{'&frameId=1' if transport == 'foreverFrame' else ''}"
        opened: Any = Socket(self.port, target) if transport == "webSockets" else Stream(self.port, target)
        opened.until('"S":1')
        assert json.loads(self.get(f"{mount}/start?{query}")[1]) == {"Response": "started"}
        return query, opened

    def aspnetcore(self, mount: str, transport: str) -> tuple[str, Any]:
        """Negotiate and open a transport: its target, and the WebSocket or stream."""
        status, answer = self.post(f"{mount}/negotiate?negotiateVersion=1")
        assert status == 200, answer
        target = f"{mount}?id={json.loads(answer)['connectionToken']}"
        if transport == "webSockets":
            return target, Socket(self.port, target)
        if transport == "longPolling":
            assert self.get(target) == (200, "")
        return target, Stream(self.port, target, "text/event-stream" if transport == "serverSentEvents" else "*/*")


class Socket:
    """A WebSocket."""

    def __init__(self, port: int, target: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._socket.sendall(self._frames.send(Request(host=f"127.0.0.1:{port}", target=target)))
        self._events: list[Any] = []
        self._text = ""
        accepted = self._next()
        self.status = accepted.status_code if isinstance(accepted, RejectConnection) else 101
        assert self.status != 101 or isinstance(accepted, AcceptConnection)
        if self.status != 101:
            self._socket.close()

    def _next(self) -> Any:
        while not self._events:
            data = self._socket.recv(65_536)
            self._frames.receive_data(data or None)
            self._events = list(self._frames.events())
        return self._events.pop(0)

    def say(self, text: str) -> None:
        self._socket.sendall(self._frames.send(Message(text)))

    def until(self, mark: str) -> str:
        """What is said, up to the message with `mark`."""
        while mark not in self._text:
            event = self._next()
            assert isinstance(event, TextMessage), event
            self._text += event.data
        text, self._text = self._text, ""
        return text

    def goodbye(self) -> int:
        """Wait for the server's; its code."""
        while not isinstance(event := self._next(), CloseConnection):
            pass
        self._socket.close()
        return int(event.code)

    def leave(self) -> None:
        self._socket.sendall(self._frames.send(CloseConnection(1000)))
        self.goodbye()


class Stream:
    """An answer that goes on."""

    def __init__(self, port: int, target: str, accept: str = "*/*") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._connection.request("GET", target, headers={"Accept": accept})
        self._answer: http.client.HTTPResponse | None = None
        self._text = ""

    def until(self, mark: str) -> str:
        """What is said, up to `mark`."""
        if self._answer is None:
            self._answer = self._connection.getresponse()
            assert self._answer.status == 200
        while mark not in self._text:
            part = self._answer.read1(65_536)
            assert part, f"it ended after {self._text!r}"
            self._text += part.decode()
        text, self._text = self._text, ""
        return text

    def goodbye(self) -> None:
        """Wait for the end, orderly or cut."""
        try:
            self._answer = self._answer or self._connection.getresponse()
            while self._answer.read1(65_536):
                pass
        except (http.client.HTTPException, ConnectionError):
            pass  # cut: the client comes back either way
        self.leave()

    def leave(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._connection.close()
