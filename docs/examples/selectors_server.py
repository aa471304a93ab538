"""A server on one thread and `selectors`: a loop of your own, as games and machines have one."""

import contextlib
import secrets
import selectors
import socket
import sys
import time

from persistconn import protocol


def echo(endpoint, event, now):
    """The application. It may keep an event as long as it likes and complete it in a later turn (rule 3)."""
    if isinstance(event, protocol.Received):
        endpoint.send(event.connection_id, protocol.Payload(event.data), now)
    endpoint.complete(event, now)


class SelectorsServer:
    def __init__(self, endpoint, application=echo):
        self.endpoint, self.application = endpoint, application
        self.selector, self.is_running = selectors.DefaultSelector(), True

    def serve(self, listener):
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ, lambda _: self.accept(listener))
        while self.is_running:
            until = self.turn()
            ready = self.selector.select(None if until is None else max(0, until - time.monotonic()))
            for key, events in ready:
                key.data(events)
            self.endpoint.tick(time.monotonic())  # rule 4: too early does no harm

    def accept(self, listener):
        with contextlib.suppress(OSError):
            sock, address = listener.accept()
            Link(self, sock, protocol.Http1Server(self.endpoint.settings, client=address[:2]))

    def turn(self):
        """Rule 1: do what the endpoint says until it says Wait, and how long. One thread does all: rule 5."""
        while not isinstance(output := self.endpoint.poll(), protocol.Wait):
            match output:
                case protocol.Transmit(exchanges=exchanges, pieces=pieces):
                    for exchange in exchanges:
                        exchange.context.transmit(exchange, pieces)
                case protocol.Abandon(exchange=exchange):
                    exchange.context.shut()
                case protocol.Resume(exchange=exchange):
                    exchange.context.steer()
                case protocol.AppEvent():
                    self.application(self.endpoint, output, time.monotonic())
        return output.until


class Link:
    """One TCP connection."""

    def __init__(self, server, sock, http):
        self.server, self.endpoint, self.sock, self.http = server, server.endpoint, sock, http
        self.exchange, self.unsent, self.unwritten, self.is_over = None, [], bytearray(), False
        sock.setblocking(False)
        server.selector.register(sock, selectors.EVENT_READ, self.ready)

    def ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.write(b"")
        if events & selectors.EVENT_READ and not self.is_over:
            try:
                data = self.sock.recv(65_536)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                self.feed(data)
            elif not self.unwritten:
                self.shut()
            else:  # the peer may have closed its half only: finish what is being answered
                self.is_over = True
                self.steer()

    def feed(self, data):
        now = time.monotonic()
        for event in self.http.receive(data):
            if isinstance(event, protocol.Request):
                self.exchange = self.endpoint.open(event, now, context=self, pings=True)
            elif isinstance(event, protocol.Pong):
                self.endpoint.pong(self.exchange, now)
            elif isinstance(event, protocol.Closed):
                self.endpoint.lost(self.exchange, now, graceful=event.by_peer)
            else:
                self.endpoint.receive(self.exchange, event, now)
        self.write(self.http.data_to_send())

    def transmit(self, exchange, pieces):
        self.unsent.append(exchange)
        self.write(self.http.send(pieces))
        if self.http.pending:
            self.feed(b"")  # what came behind the request that is answered now

    def write(self, data):
        self.unwritten += data
        with contextlib.suppress(BlockingIOError):
            try:
                del self.unwritten[: self.sock.send(self.unwritten)]
            except (BrokenPipeError, ConnectionError):
                self.shut()
        if not self.unwritten:  # rule 2: now there may be another Transmit for each of these
            sent, self.unsent = self.unsent, []
            self.endpoint.sent(sent, time.monotonic())
            if self.http.closing or self.is_over:
                self.shut()
        self.steer()

    def steer(self):
        """Back-pressure: wait for what the peer says, or let it wait; wait for room where something is unwritten."""
        if self.sock.fileno() < 0:
            return
        is_paused = self.is_over or not self.http.wants_data or (self.exchange is not None and self.exchange.paused)
        events = (0 if is_paused else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self.unwritten else 0)
        self.server.selector.modify(self.sock, events, self.ready)

    def shut(self):
        if self.sock.fileno() >= 0:
            self.server.selector.unregister(self.sock)
            self.sock.close()
            if self.exchange is not None:
                self.endpoint.lost(self.exchange, time.monotonic())


if __name__ == "__main__":
    entropy, wall = secrets.token_bytes, time.time() - time.monotonic()
    endpoint = protocol.ServerEndpoint([protocol.Route("/echo")], secret_keys=[entropy(32)], entropy=entropy, wall=wall)
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
        print("http://{}:{}/echo".format(*listener.getsockname()), flush=True)
        SelectorsServer(endpoint).serve(listener)
