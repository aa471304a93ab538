"""A server on Twisted: a protocol per socket, and one delayed call for the time."""

import sys
import time

from by_hand import drain, echo, may_read, new_endpoint, tell
from twisted.internet import interfaces, reactor
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from persistconn import protocol


class TwistedServer(Factory):
    noisy = False

    def __init__(self, endpoint, application=echo):
        self.endpoint, self.application, self.timer, self.is_pumping = endpoint, application, None, False

    def buildProtocol(self, address):
        return Link(self, protocol.Http1Server(self.endpoint.settings, client=(address.host, address.port)))

    def pump(self):
        """Do what the endpoint says, and wake up when a Wait is over. The reactor sees to rule 5."""
        if self.is_pumping:
            return  # a link told something while it was asked to transmit; that is dealt with below
        self.is_pumping = True
        until = drain(self.endpoint, self.application)
        self.is_pumping = False
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        if until is not None:
            self.timer = reactor.callLater(max(0, until - time.monotonic()), self.tick)

    def tick(self):
        self.endpoint.tick(time.monotonic())
        self.pump()

    def shut_down(self):
        self.endpoint.drain(time.monotonic())
        self.pump()


@implementer(interfaces.IPushProducer, interfaces.IHalfCloseableProtocol)
class Link(Protocol):
    """One TCP connection, and the producer that its transport tells when it is full."""

    def __init__(self, server, http):
        self.server, self.endpoint, self.http = server, server.endpoint, http
        self.exchange, self.unsent, self.is_full = None, [], False

    def connectionMade(self):
        self.cut = self.transport.abortConnection
        self.transport.registerProducer(self, True)

    def dataReceived(self, data):
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
            self.dataReceived(b"")  # what came behind the request that is answered now
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
        self.endpoint.sent(sent, time.monotonic())
        self.server.pump()

    def stopProducing(self):
        """The transport has gone: connectionLost follows."""

    readConnectionLost = close  # when what is answered already is written

    def writeConnectionLost(self):
        """We close nothing by halves."""

    def connectionLost(self, reason):
        if self.exchange is not None:
            self.endpoint.lost(self.exchange, time.monotonic())
            self.server.pump()


if __name__ == "__main__":
    address = reactor.listenTCP(int(sys.argv[1]), TwistedServer(new_endpoint()), interface="127.0.0.1").getHost()
    print(f"http://{address.host}:{address.port}/echo", flush=True)
    reactor.run()
