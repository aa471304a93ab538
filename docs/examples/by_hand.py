"""What servers made by hand have in common: an application, an endpoint, what to tell it, and doing what it says."""

import secrets
import socket
import sys
import time

from persistconn import protocol


def echo(endpoint, event, now):
    """The application. It may keep an event as long as it likes and complete it in a later turn (rule 3)."""
    if isinstance(event, protocol.Received):
        endpoint.send(event.connection_id, protocol.Payload(event.data), now)
    endpoint.complete(event, now)


def new_endpoint():
    """Rule 4: the endpoint has no clock and no chance, so it gets both from us. Our `now` is `time.monotonic()`."""
    return protocol.ServerEndpoint(
        [protocol.Route("/echo")],
        secret_keys=[secrets.token_bytes(32)],
        entropy=secrets.token_bytes,
        wall=time.time() - time.monotonic(),
    )


def listen():
    """A socket that listens on the port that the command line says."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    print("http://{}:{}/echo".format(*listener.getsockname()), flush=True)
    return listener


def tell(endpoint, link, data):
    """Bytes came: tell the endpoint what they mean. A link is one socket; it has an Http1Server and an exchange."""
    now = time.monotonic()
    for event in link.http.receive(data):
        if isinstance(event, protocol.Request):
            link.exchange = endpoint.open(event, now, context=link, pings=True)
        elif isinstance(event, protocol.Pong):
            endpoint.pong(link.exchange, now)
        elif isinstance(event, protocol.Closed):
            endpoint.lost(link.exchange, now, graceful=event.by_peer)
        else:
            endpoint.receive(link.exchange, event, now)


def drain(endpoint, application):
    """Rule 1: whatever the endpoint was told, do what it says until it says Wait; gives until when."""
    while not isinstance(output := endpoint.poll(), protocol.Wait):
        match output:
            case protocol.Transmit(exchanges=exchanges, pieces=pieces):
                for exchange in exchanges:
                    exchange.context.transmit(exchange, pieces)  # never waits; rule 2: `sent` when it is written
            case protocol.Abandon(exchange=exchange):
                exchange.context.cut()
            case protocol.Resume(exchange=exchange):
                exchange.context.steer()
            case protocol.AppEvent():
                application(endpoint, output, time.monotonic())
    return output.until


def may_read(link):
    """Back-pressure: False while the peer has to wait."""
    return link.http.wants_data and not (link.exchange is not None and link.exchange.paused)
