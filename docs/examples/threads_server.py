"""A server on bare threads and sockets: no event loop, no async; the core and one lock."""

import contextlib
import queue
import secrets
import socket
import sys
import threading
import time

from persistconn import protocol


class ThreadsServer:
    def __init__(self) -> None:
        entropy, wall = secrets.token_bytes, time.time() - time.monotonic()
        routes = [protocol.Route("/echo")]
        self.endpoint = protocol.ServerEndpoint(routes, secret_keys=[entropy(32)], entropy=entropy, wall=wall)
        self.lock = threading.Condition()  # rule 5: one caller at a time. It also wakes keep_time
        self.wake_at: float | None = None

    def serve(self, listener: socket.socket) -> None:
        threading.Thread(target=self.keep_time, daemon=True).start()
        while True:
            sock, address = listener.accept()
            link = Link(self, sock, protocol.Http1Server(client=address))
            threading.Thread(target=link.read, daemon=True).start()
            threading.Thread(target=link.write, daemon=True).start()

    def drain(self) -> None:
        """Rule 1: whatever the endpoint was told, do what it says until it says Wait."""
        while not isinstance(output := self.endpoint.poll(), protocol.Wait):
            match output:
                case protocol.Transmit(exchanges=exchanges, pieces=pieces):
                    for exchange in exchanges:
                        exchange.context.transmit(exchange, pieces)
                case protocol.Abandon(exchange=exchange):
                    exchange.context.shut()
                case protocol.AppEvent():  # rule 3: complete it, and the next one of its connection comes
                    if isinstance(output, protocol.Received):  # the application: an echo
                        self.endpoint.send(output.connection_id, protocol.Payload(output.data), time.monotonic())
                    self.endpoint.complete(output, time.monotonic())
        if output.until != self.wake_at:
            self.wake_at = output.until
            self.lock.notify()

    def keep_time(self) -> None:
        """Rule 4: the endpoint has no clock, so somebody tells it that a Wait is over."""
        with self.lock:
            while True:
                self.lock.wait(None if self.wake_at is None else max(0, self.wake_at - time.monotonic()))
                self.endpoint.tick(time.monotonic())  # too early does no harm
                self.drain()


class Link:
    """One TCP connection, with a thread that reads and one that writes."""

    def __init__(self, server: ThreadsServer, sock: socket.socket, http: protocol.Http1Server) -> None:
        self.server, self.endpoint, self.sock, self.http = server, server.endpoint, sock, http
        self.exchange: protocol.Exchange | None = None
        self.outgoing: queue.SimpleQueue[tuple[bytes, protocol.Exchange | None, bool]] = queue.SimpleQueue()

    def read(self) -> None:
        while data := self.receive():
            with self.server.lock:
                self.feed(data)
                self.server.drain()
        with self.server.lock:
            if self.exchange is not None:
                self.endpoint.lost(self.exchange, time.monotonic())
                self.server.drain()
        self.outgoing.put((b"", None, True))

    def receive(self) -> bytes:
        with contextlib.suppress(OSError):
            return self.sock.recv(65_536)
        return b""

    def feed(self, data: bytes) -> None:
        now = time.monotonic()
        for event in self.http.receive(data):
            if isinstance(event, protocol.Request):
                self.exchange = self.endpoint.open(event, now, context=self, pings=True)
                continue
            assert self.exchange is not None  # a WebSocket began as a request
            if isinstance(event, protocol.Pong):
                self.endpoint.pong(self.exchange, now)
            elif isinstance(event, protocol.Closed):
                self.endpoint.lost(self.exchange, now, graceful=event.by_peer)
            else:
                self.endpoint.receive(self.exchange, event, now)
        self.outgoing.put((self.http.data_to_send(), None, self.http.closing))

    def transmit(self, exchange: protocol.Exchange, pieces: tuple[protocol.Piece, ...]) -> None:
        self.outgoing.put((self.http.send(pieces), exchange, self.http.closing))
        if self.http.pending:
            self.feed(b"")  # what came behind the request that is answered now

    def write(self) -> None:
        with self.sock, contextlib.suppress(OSError):
            last = False
            while not last:
                data, exchange, last = self.outgoing.get()
                self.sock.sendall(data)
                if exchange is not None:  # rule 2: now there may be another Transmit for it
                    with self.server.lock:
                        self.endpoint.sent([exchange], time.monotonic())
                        self.server.drain()
            self.shut()

    def shut(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        print("http://{}:{}/echo".format(*listener.getsockname()), flush=True)
        ThreadsServer().serve(listener)
