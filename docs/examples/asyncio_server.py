"""A server on bare asyncio: one `asyncio.Protocol` per socket, and no task at all."""

import asyncio
import sys
import time

from by_hand import drain, echo, may_read, new_endpoint, tell

from persistconn import protocol


class AsyncioServer:
    def __init__(self, endpoint, application=echo):
        self.endpoint, self.application = endpoint, application
        self.loop, self.timer, self.is_pumping = asyncio.get_running_loop(), None, False

    def pump(self):
        """Do what the endpoint says, and wake up when a Wait is over. The loop sees to rule 5."""
        if self.is_pumping:
            return  # a link told something while it was asked to transmit; that is dealt with below
        self.is_pumping = True
        until = drain(self.endpoint, self.application)
        self.is_pumping = False
        if self.timer is not None:
            self.timer.cancel()
        if until is not None:
            self.timer = self.loop.call_later(max(0, until - time.monotonic()), self.tick)

    def tick(self):
        self.endpoint.tick(time.monotonic())
        self.pump()

    def shut_down(self):
        self.endpoint.drain(time.monotonic())
        self.pump()


class Link(asyncio.Protocol):
    """One TCP connection."""

    def __init__(self, server):
        self.server, self.endpoint = server, server.endpoint
        self.exchange, self.unsent, self.is_full = None, [], False

    def connection_made(self, transport):
        self.transport, self.cut = transport, transport.abort
        transport.set_write_buffer_limits(0)  # so that pause_writing means: not all of it is written
        self.http = protocol.Http1Server(self.endpoint.settings, client=transport.get_extra_info("peername")[:2])

    def data_received(self, data):
        tell(self.endpoint, self, data)
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
        if may_read(self):
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

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
    server = AsyncioServer(new_endpoint())
    listening = await server.loop.create_server(lambda: Link(server), "127.0.0.1", port)
    print("http://{}:{}/echo".format(*listening.sockets[0].getsockname()), flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
