"""A server on one thread and `selectors`: a loop of your own, as games and machines have one."""

import selectors
import time

from by_hand import drain, echo, listen, may_read, new_endpoint, tell

from persistconn import protocol

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class SelectorsServer:
    def __init__(self, endpoint, application=echo):
        self.endpoint, self.application = endpoint, application
        self.selector, self.is_running = selectors.DefaultSelector(), True

    def serve(self, listener):
        self.selector.register(listener, READ, lambda _: Link(self, *listener.accept()))
        while self.is_running:  # one thread does it all: rule 5
            until = drain(self.endpoint, self.application)
            ready = self.selector.select(None if until is None else max(0, until - time.monotonic()))
            for key, events in ready:
                key.data(events)
            self.endpoint.tick(time.monotonic())  # too early does no harm


class Link:
    """One TCP connection."""

    def __init__(self, server, sock, address):
        self.server, self.endpoint, self.sock = server, server.endpoint, sock
        self.http = protocol.Http1Server(self.endpoint.settings, client=address[:2])
        self.exchange, self.unsent, self.unwritten, self.is_over = None, [], bytearray(), False
        sock.setblocking(False)
        server.selector.register(sock, READ, self.ready)

    def ready(self, events):
        if events & WRITE:
            self.write(b"")
        if events & READ and may_read(self) and self.sock.fileno() >= 0:
            try:
                data = self.sock.recv(65_536)
            except OSError:
                self.cut()
                return
            if data:
                self.feed(data)
            else:  # perhaps it closed its half only: what is answered already is written first
                self.is_over = True
                self.write(b"")

    def feed(self, data):
        tell(self.endpoint, self, data)
        self.write(self.http.data_to_send())

    def transmit(self, exchange, pieces):
        self.unsent.append(exchange)
        self.write(self.http.send(pieces))
        if self.http.pending:
            self.feed(b"")  # what came behind the request that is answered now

    def write(self, data):
        self.unwritten += data
        try:
            del self.unwritten[: self.sock.send(self.unwritten)]
        except BlockingIOError:
            pass
        except OSError:
            self.cut()
            return
        if not self.unwritten:  # rule 2: now there may be another Transmit for each of these
            sent, self.unsent = self.unsent, []
            self.endpoint.sent(sent, time.monotonic())
            if self.http.closing or self.is_over:
                self.cut()
        self.steer()

    def steer(self):
        """Wait for what the peer says, unless it has to wait; and for room where something is unwritten."""
        if self.sock.fileno() >= 0:
            events = (READ if may_read(self) and not self.is_over else 0) | (WRITE if self.unwritten else 0)
            self.server.selector.modify(self.sock, events, self.ready)

    def cut(self):
        if self.sock.fileno() >= 0:
            self.server.selector.unregister(self.sock)
            self.sock.close()
            if self.exchange is not None:
                self.endpoint.lost(self.exchange, time.monotonic())


if __name__ == "__main__":
    with listen() as listener:
        SelectorsServer(new_endpoint()).serve(listener)
