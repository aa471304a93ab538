"""A server on Twisted: a protocol per socket, and one delayed call for the time."""

import secrets
import sys
import time

from twisted.internet import interfaces, reactor
from twisted.internet import protocol as twisted
from zope.interface import implementer

from persistconn import protocol


def echo(endpoint, event, now):
    """The application. It may keep an event as long as it likes and complete it later, then call `pump` (rule 3)."""
    if isinstance(event, protocol.Received):
        endpoint.send(event.connection_id, protocol.Payload(event.data), now)
    endpoint.complete(event, now)


class TwistedServer(twisted.Factory):
    noisy = False

    def __init__(self, endpoint, application=echo):
        self.endpoint, self.application, self.timer, self.is_pumping = endpoint, application, None, False

    def buildProtocol(self, address):
        return Link(self, protocol.Http1Server(self.endpoint.settings, client=(address.host, address.port)))

    def pump(self):
        """Rule 1: whatever the endpoint was told, do what it says until it says Wait. The reactor keeps rule 5."""
        if self.is_pumping:
            return  # a link told something while it was asked to transmit; the loop below goes on
        self.is_pumping = True
        while not isinstance(output := self.endpoint.poll(), protocol.Wait):
            match output:
                case protocol.Transmit(exchanges=exchanges, pieces=pieces):
                    for exchange in exchanges:
                        exchange.context.transmit(exchange, pieces)
                case protocol.Abandon(exchange=exchange):
                    exchange.context.transport.abortConnection()
                case protocol.Resume(exchange=exchange):
                    exchange.context.steer()
                case protocol.AppEvent():
                    self.application(self.endpoint, output, time.monotonic())
        self.is_pumping = False
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if output.until is not None:  # rule 4: the endpoint has no clock, so tell it that the Wait is over
            self.timer = reactor.callLater(max(0, output.until - time.monotonic()), self.tick)

    def tick(self):
        self.endpoint.tick(time.monotonic())
        self.pump()

    def drain(self):
        self.endpoint.drain(time.monotonic())
        self.pump()


@implementer(interfaces.IPushProducer, interfaces.IHalfCloseableProtocol)
class Link(twisted.Protocol):
    """One TCP connection, and the producer that its transport tells when it is full."""

    def __init__(self, server, http):
        self.server, self.endpoint, self.http = server, server.endpoint, http
        self.exchange, self.unsent, self.is_full = None, [], False

    def connectionMade(self):
        self.transport.registerProducer(self, True)

    def dataReceived(self, data):
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
            self.dataReceived(b"")  # what came behind the request that is answered now
        self.steer()

    def write(self, data):
        self.transport.write(data)
        if self.http.closing:
            self.transport.unregisterProducer()  # or it would be asked for more before the end
            self.transport.loseConnection()

    def steer(self):
        """Back-pressure: read, or let the peer wait."""
        if (self.exchange is not None and self.exchange.paused) or not self.http.wants_data:
            self.transport.pauseProducing()
        elif self.transport.connected and not self.transport.disconnecting:
            self.transport.resumeProducing()

    def pauseProducing(self):
        self.is_full = True

    def resumeProducing(self):
        self.is_full, sent, self.unsent = False, self.unsent, []
        self.endpoint.sent(sent, time.monotonic())
        self.server.pump()

    def stopProducing(self):
        """The transport has gone: connectionLost follows."""

    def readConnectionLost(self):
        self.transport.unregisterProducer()
        self.transport.loseConnection()  # when what has been answered is written

    def writeConnectionLost(self):
        """Nothing of ours is closed by halves."""

    def connectionLost(self, reason):
        if self.exchange is not None:
            self.endpoint.lost(self.exchange, time.monotonic())
            self.server.pump()


if __name__ == "__main__":
    entropy, wall = secrets.token_bytes, time.time() - time.monotonic()
    endpoint = protocol.ServerEndpoint([protocol.Route("/echo")], secret_keys=[entropy(32)], entropy=entropy, wall=wall)
    address = reactor.listenTCP(int(sys.argv[1]), TwistedServer(endpoint), interface="127.0.0.1").getHost()
    print(f"http://{address.host}:{address.port}/echo", flush=True)
    reactor.run()
