"""A server on bare threads and sockets: no event loop, no async; the core and one lock."""

import contextlib
import queue
import secrets
import socket
import sys
import threading
import time

from persistconn import protocol


def echo(endpoint, event, now):
    """The application. It may keep an event as long as it likes and complete it later, in another turn (rule 3)."""
    if isinstance(event, protocol.Received):
        endpoint.send(event.connection_id, protocol.Payload(event.data), now)
    endpoint.complete(event, now)


class ThreadsServer:
    def __init__(self, endpoint, application=echo):
        self.endpoint, self.application, self.wake_at = endpoint, application, None
        self.changed = threading.Condition()

    def serve(self, listener):
        threading.Thread(target=self.keep_time, daemon=True).start()
        with contextlib.suppress(OSError):  # until somebody shuts the listener
            while True:
                sock, address = listener.accept()
                link = Link(self, sock, protocol.Http1Server(self.endpoint.settings, client=address[:2]))
                threading.Thread(target=link.read, daemon=True).start()
                threading.Thread(target=link.write, daemon=True).start()

    @contextlib.contextmanager
    def turn(self):
        """Rules 5 and 1: one thread at a time makes calls, and then does what the endpoint says until it says Wait."""
        with self.changed:
            yield time.monotonic()  # rule 4: time is an argument, and only moves forward
            while not isinstance(output := self.endpoint.poll(), protocol.Wait):
                match output:
                    case protocol.Transmit(exchanges=exchanges, pieces=pieces):
                        for exchange in exchanges:
                            exchange.context.transmit(exchange, pieces)
                    case protocol.Abandon(exchange=exchange):
                        exchange.context.shut()
                    case protocol.AppEvent():
                        self.application(self.endpoint, output, time.monotonic())
            self.wake_at = output.until
            self.changed.notify_all()  # the thread that keeps the time, and those that wait for Resume

    def keep_time(self):
        while True:
            with self.turn() as now:
                self.endpoint.tick(now)  # too early does no harm
            with self.changed:
                if self.wake_at is None or self.wake_at > time.monotonic():
                    self.changed.wait(None if self.wake_at is None else self.wake_at - time.monotonic())

    def drain(self):
        with self.turn() as now:
            self.endpoint.drain(now)


class Link:
    """One TCP connection, with a thread that reads and one that writes."""

    def __init__(self, server, sock, http):
        self.server, self.endpoint, self.sock, self.http = server, server.endpoint, sock, http
        self.exchange, self.outgoing, self.is_shut = None, queue.SimpleQueue(), False

    def read(self):
        while data := self.receive():
            with self.server.turn() as now:
                self.feed(data, now)
            with self.server.changed:  # back-pressure: Resume ends what `paused` began
                self.server.changed.wait_for(lambda: self.is_shut or not (self.exchange and self.exchange.paused))
        with self.server.turn() as now:
            if self.exchange is not None:
                self.endpoint.lost(self.exchange, now)
        self.outgoing.put((b"", None, True))

    def receive(self):
        with contextlib.suppress(OSError):
            return self.sock.recv(65_536)

    def feed(self, data, now):
        for event in self.http.receive(data):
            if isinstance(event, protocol.Request):
                self.exchange = self.endpoint.open(event, now, context=self, pings=True)
            elif isinstance(event, protocol.Pong):
                self.endpoint.pong(self.exchange, now)
            elif isinstance(event, protocol.Closed):
                self.endpoint.lost(self.exchange, now, graceful=event.by_peer)
            else:
                self.endpoint.receive(self.exchange, event, now)
        self.outgoing.put((self.http.data_to_send(), None, self.http.closing))

    def transmit(self, exchange, pieces):
        self.outgoing.put((self.http.send(pieces), exchange, self.http.closing))
        if self.http.pending:
            self.feed(b"", time.monotonic())  # what came behind the request that is answered now

    def write(self):
        is_last = False
        with self.sock:
            while not is_last:
                data, exchange, is_last = self.outgoing.get()
                try:
                    self.sock.sendall(data)
                except OSError:
                    is_last = True
                with self.server.turn() as now:
                    if is_last:
                        self.shut()
                    elif exchange is not None:  # rule 2: now there may be another Transmit for it
                        self.endpoint.sent([exchange], now)

    def shut(self):
        self.is_shut = True
        self.server.changed.notify_all()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes the threads that read and write


if __name__ == "__main__":
    entropy, wall = secrets.token_bytes, time.time() - time.monotonic()
    endpoint = protocol.ServerEndpoint([protocol.Route("/echo")], secret_keys=[entropy(32)], entropy=entropy, wall=wall)
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        print("http://{}:{}/echo".format(*listener.getsockname()), flush=True)
        ThreadsServer(endpoint).serve(listener)
