"""A server on Twisted: a protocol per socket, and one delayed call for the time."""

import sys
import time

from by_hand import drain, echo, may_read, new_endpoint, tell
from twisted.internet import interfaces, protocol, reactor
from zope.interface import implementer

from persistconn.protocol import Http1Server


class TwistedServer(protocol.Factory):
    def __init__(self, endpoint, application=echo):
        self.endpoint, self.application, self.timer = endpoint, application, None

    def buildProtocol(self, address):
        return Link(self, Http1Server(self.endpoint.settings, client=(address.host, address.port)))

    def turn(self, call, *args):
        """Tell the endpoint something, do what it says, and wake up when a Wait is over. The reactor sees to rule 5."""
        call(*args, time.monotonic())
        until = drain(self.endpoint, self.application)
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if until is not None:
            self.timer = reactor.callLater(max(0, until - time.monotonic()), self.turn, self.endpoint.tick)

    def shut_down(self):
        self.turn(self.endpoint.drain)


@implementer(interfaces.IPushProducer, interfaces.IHalfCloseableProtocol)
class Link(protocol.Protocol):
    """One TCP connection, and the producer that its transport tells when it is full."""

    def __init__(self, server, http):
        self.server, self.endpoint, self.http = server, server.endpoint, http
        self.exchange, self.unsent, self.is_full = None, [], False

    def connectionMade(self):
        self.cut = self.transport.abortConnection
        self.transport.registerProducer(self, True)

    def dataReceived(self, data):
        self.feed(data)
        self.server.turn(self.endpoint.tick)  # too early does no harm
        self.steer()

    def feed(self, data):
        tell(self.endpoint, self, data)
        self.write(self.http.data_to_send())

    def transmit(self, exchange, pieces):
        self.write(self.http.send(pieces))
        if self.is_full:
            self.unsent.append(exchange)
        else:  # rule 2: now there may be another Transmit for it
            self.endpoint.sent([exchange], time.monotonic())
        if self.http.pending:
            self.feed(b"")  # what came behind the request that is answered now
        self.steer()

    def write(self, data):
        self.transport.write(data)
        if self.http.closing:
            self.close()

    def close(self):
        self.transport.unregisterProducer()  # or it would be asked for more before the end
        self.transport.loseConnection()

    def steer(self):
        if not may_read(self):
            self.transport.pauseProducing()
        elif self.transport.connected and not self.transport.disconnecting:
            self.transport.resumeProducing()

    def pauseProducing(self):
        self.is_full = True

    def resumeProducing(self):
        self.is_full, sent, self.unsent = False, self.unsent, []
        self.server.turn(self.endpoint.sent, sent)

    def stopProducing(self):
        """The transport has gone: connectionLost follows."""

    readConnectionLost = close  # when what is answered already is written
    writeConnectionLost = stopProducing  # we close nothing by halves

    def connectionLost(self, reason):
        if self.exchange is not None:
            self.server.turn(self.endpoint.lost, self.exchange)


if __name__ == "__main__":
    address = reactor.listenTCP(int(sys.argv[1]), TwistedServer(new_endpoint()), interface="127.0.0.1").getHost()
    print(f"http://{address.host}:{address.port}/echo", flush=True)
    reactor.run()
