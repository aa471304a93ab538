"""A server on bare asyncio: one `asyncio.Protocol` per socket, and no task at all."""

import asyncio
import secrets
import sys
import time

from persistconn import protocol


def echo(endpoint, event, now):
    """The application. It may keep an event as long as it likes and complete it later, then call `pump` (rule 3)."""
    if isinstance(event, protocol.Received):
        endpoint.send(event.connection_id, protocol.Payload(event.data), now)
    endpoint.complete(event, now)


class AsyncioServer:
    def __init__(self, endpoint, application=echo):
        self.endpoint, self.application = endpoint, application
        self.loop, self.timer, self.is_pumping = asyncio.get_running_loop(), None, False

    def pump(self):
        """Rule 1: whatever the endpoint was told, do what it says until it says Wait. The loop keeps rule 5."""
        if self.is_pumping:
            return  # a link told something while it was asked to transmit; the loop below goes on
        self.is_pumping = True
        while not isinstance(output := self.endpoint.poll(), protocol.Wait):
            match output:
                case protocol.Transmit(exchanges=exchanges, pieces=pieces):
                    for exchange in exchanges:
                        exchange.context.transmit(exchange, pieces)
                case protocol.Abandon(exchange=exchange):
                    exchange.context.transport.abort()
                case protocol.Resume(exchange=exchange):
                    exchange.context.steer()
                case protocol.AppEvent():
                    self.application(self.endpoint, output, time.monotonic())
        self.is_pumping = False
        if self.timer is not None:
            self.timer.cancel()
        if output.until is not None:  # rule 4: the endpoint has no clock, so tell it that the Wait is over
            self.timer = self.loop.call_later(max(0, output.until - time.monotonic()), self.tick)

    def tick(self):
        self.endpoint.tick(time.monotonic())
        self.pump()

    def drain(self):
        self.endpoint.drain(time.monotonic())
        self.pump()


class Link(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, server):
        self.server, self.endpoint = server, server.endpoint
        self.exchange, self.unsent, self.is_full = None, [], False

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(0)  # so that pause_writing means: not all of it is written
        self.http = protocol.Http1Server(self.endpoint.settings, client=transport.get_extra_info("peername")[:2])

    def data_received(self, data):
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
        self.server.pump()
        self.steer()

    def transmit(self, exchange, pieces):
        self.write(self.http.send(pieces))
        if self.is_full:
            self.unsent.append(exchange)
        else:  # rule 2: now there may be another Transmit for it
            self.endpoint.sent([exchange], time.monotonic())
        if self.http.pending:
            self.data_received(b"")  # what came behind the request that is answered now
        self.steer()

    def write(self, data):
        self.transport.write(data)
        if self.http.closing:
            self.transport.close()

    def steer(self):
        """Back-pressure: read, or let the peer wait."""
        if (self.exchange is not None and self.exchange.paused) or not self.http.wants_data:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def pause_writing(self):
        self.is_full = True

    def resume_writing(self):
        self.is_full, sent, self.unsent = False, self.unsent, []
        self.endpoint.sent(sent, time.monotonic())
        self.server.pump()

    def connection_lost(self, error):
        if self.exchange is not None:
            self.endpoint.lost(self.exchange, time.monotonic())
            self.server.pump()


async def main(port):
    entropy, wall = secrets.token_bytes, time.time() - time.monotonic()
    endpoint = protocol.ServerEndpoint([protocol.Route("/echo")], secret_keys=[entropy(32)], entropy=entropy, wall=wall)
    server = AsyncioServer(endpoint)
    listening = await server.loop.create_server(lambda: Link(server), "127.0.0.1", port)
    print("http://{}:{}/echo".format(*listening.sockets[0].getsockname()), flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
