"""A server on bare threads and sockets: no event loop, no async; the core and one lock."""

import contextlib
import queue
import socket
import threading
import time

from by_hand import drain, echo, listen, may_read, new_endpoint, tell

from persistconn import protocol


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
        """Rule 5: one thread at a time makes calls, and then does what the endpoint says."""
        with self.changed:
            yield time.monotonic()
            self.wake_at = drain(self.endpoint, self.application)
            self.changed.notify_all()  # the thread that keeps the time, and those that may read on

    def keep_time(self):
        with self.changed:
            while True:
                self.changed.wait(None if self.wake_at is None else self.wake_at - time.monotonic())
                with self.turn() as now:
                    self.endpoint.tick(now)  # too early does no harm

    def shut_down(self):
        with self.turn() as now:
            self.endpoint.drain(now)


class Link:
    """One TCP connection, with a thread that reads and one that writes."""

    def __init__(self, server, sock, http):
        self.server, self.endpoint, self.sock, self.http = server, server.endpoint, sock, http
        self.exchange, self.outgoing, self.is_cut = None, queue.SimpleQueue(), False
        self.steer = server.changed.notify_all  # Resume: wakes the thread that waits to read

    def read(self):
        with contextlib.suppress(OSError):
            while data := self.sock.recv(65_536):
                with self.server.turn():
                    self.feed(data)
                with self.server.changed:
                    self.server.changed.wait_for(lambda: self.is_cut or may_read(self))
        with self.server.turn() as now:
            if self.exchange is not None:
                self.endpoint.lost(self.exchange, now)
        self.outgoing.put((b"", None, True))

    def feed(self, data):
        tell(self.endpoint, self, data)
        self.outgoing.put((self.http.data_to_send(), None, self.http.closing))

    def transmit(self, exchange, pieces):
        self.outgoing.put((self.http.send(pieces), exchange, self.http.closing))
        if self.http.pending:
            self.feed(b"")  # what came behind the request that is answered now

    def write(self):
        with self.sock:
            while True:
                data, exchange, is_last = self.outgoing.get()
                try:
                    self.sock.sendall(data)
                except OSError:
                    is_last = True
                with self.server.turn() as now:
                    if is_last:
                        return self.cut()
                    if exchange is not None:  # rule 2: now there may be another Transmit for it
                        self.endpoint.sent([exchange], now)

    def cut(self):
        self.is_cut = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes the threads that read and write


if __name__ == "__main__":
    with listen() as listener:
        ThreadsServer(new_endpoint()).serve(listener)
