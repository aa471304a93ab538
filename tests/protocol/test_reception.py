"""Requests: routes, origins, tokens, users, admission, negotiate, and every refusal with its text."""

from __future__ import annotations

import json

import pytest

from persistconn import Settings
from persistconn.bus.post import Payload
from persistconn.errors import ConfigurationError
from persistconn.protocol import Admission, Connected, Disconnected, Transmit
from persistconn.wire.http import Chunk, Head

from .talk import ALL, FF, LP, SSE, WS, Client, Talk


@pytest.fixture
def talk() -> Talk:
    return Talk()


# Negotiate --------------------------------------------------------------------------------------


def test_negotiate_tells_the_limits_and_a_token(talk: Talk) -> None:
    exchange = talk.open("/echo/negotiate", "clientProtocol=1.5&connectionData=%5B%5D")
    answer = talk.json(exchange)
    token, id = answer.pop("ConnectionToken"), answer.pop("ConnectionId")
    assert answer == {
        "Url": "/echo",
        "KeepAliveTimeout": 20.0,
        "DisconnectTimeout": 30.0,
        "ConnectionTimeout": 110.0,
        "TryWebSockets": True,
        "ProtocolVersion": "1.5",
        "TransportConnectTimeout": 5.0,
        "LongPollDelay": 0.0,
    }
    assert len(id) == 36
    assert id not in token
    assert talk.header(exchange, "Content-Type") == "application/json; charset=UTF-8"
    assert talk.header(exchange, "X-Content-Type-Options") == "nosniff"


def test_two_newcomers_get_two_ids(talk: Talk) -> None:
    assert Client(talk).id != Client(talk).id
    assert talk.endpoint.statistics().connections == 0  # negotiating keeps nothing


def test_the_url_is_the_one_seen_from_outside(talk: Talk) -> None:
    from persistconn import Request

    exchange = talk.endpoint.open(Request("GET", "/app/echo/negotiate", root_path="/app"), talk.now)
    talk.drain()
    assert talk.json(exchange)["Url"] == "/app/echo"


def test_a_redirect_is_told_to_those_who_can_follow(talk: Talk) -> None:
    admission = Admission(redirect_url="https://h2/echo", access_token="t")
    exchange = talk.open("/echo/negotiate", "clientProtocol=2.1", admission=admission)
    assert talk.json(exchange) == {"ProtocolVersion": "2.0", "RedirectUrl": "https://h2/echo", "AccessToken": "t"}
    exchange = talk.open("/echo/negotiate", "clientProtocol=1.5", admission=admission)
    assert (talk.status(exchange), b"redirect" in talk.body(exchange)) == (403, True)


def test_an_error_is_told_to_those_who_look_for_it(talk: Talk) -> None:
    admission = Admission(error="quota exceeded")
    exchange = talk.open("/echo/negotiate", "clientProtocol=2.0", admission=admission)
    assert talk.json(exchange) == {"ProtocolVersion": "2.0", "Error": "quota exceeded"}
    exchange = talk.open("/echo/negotiate", "clientProtocol=1.5", admission=admission)
    assert (talk.status(exchange), talk.body(exchange)) == (403, b"quota exceeded")


# Routes -----------------------------------------------------------------------------------------


def test_what_is_mounted_nowhere_is_not_found(talk: Talk) -> None:
    for path in ("/", "/nowhere", "/echo2/negotiate"):
        assert talk.status(talk.open(path)) == 404
    assert talk.endpoint.route_of(talk.open("/echo/ping").request) is not None


def test_a_connection_belongs_to_its_route(talk: Talk) -> None:
    client = Client(talk)
    exchange = talk.open("/other/connect", client.query(), upgrade=True)
    assert talk.body(exchange) == b"The ConnectionId is in the incorrect format."


def test_the_innermost_mount_takes_a_request() -> None:
    from persistconn import Request
    from persistconn.protocol import Route, ServerEndpoint

    routes = [Route(""), Route("/a"), Route("/a/b")]
    endpoint = ServerEndpoint(routes, secret_keys=[b"k" * 16], entropy=bytes)
    assert [endpoint.route_of(Request("GET", path)) for path in ("/x/ping", "/a/ping", "/a/b/ping")] == routes


# Who may come in --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 500])
def test_who_is_not_admitted_gets_an_empty_refusal(talk: Talk, status: int) -> None:
    exchange = talk.open("/echo/negotiate", admission=Admission(status=status))
    assert (talk.status(exchange), talk.body(exchange)) == (status, b"")


def test_the_jsonp_gate_stands_before_everything_else(talk: Talk) -> None:
    exchange = talk.open("/echo/negotiate", "callback=f", admission=Admission(status=401))
    assert (talk.status(exchange), talk.body(exchange)) == (403, b"Forbidden: JSONP is disabled.")


def test_who_is_not_admitted_learns_nothing_of_other_errors(talk: Talk) -> None:
    assert talk.status(talk.open("/echo/connect", admission=Admission(status=401))) == 401


def test_a_token_is_good_for_its_user_only(talk: Talk) -> None:
    client = Client(talk, user="Ann")
    client.user = "ann"  # the same name
    assert talk.status(client.attach("connect")) == 101
    client.user = None
    refused = client.ask("abort")
    assert talk.status(refused) == 403
    assert talk.body(refused) == (
        b"Unrecognized user identity.  The user identity cannot change during an active SignalR connection."
    )


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "Protocol error: Unknown transport."),
        ("transport=carrierPigeon", "Protocol error: Unknown transport."),
        ("transport=longPolling", "Protocol error: Missing connection token."),
        ("transport=longPolling&connectionToken=forged", "The ConnectionId is in the incorrect format."),
        ("transport=webSockets&connectionToken=x", "Not a valid web socket request."),
    ],
)
def test_bad_requests_get_the_genuine_servers_words(talk: Talk, query: str, text: str) -> None:
    exchange = talk.open("/echo/connect", query)
    assert (talk.status(exchange), talk.body(exchange).decode()) == (400, text)
    assert talk.header(exchange, "X-Content-Type-Options") == "nosniff"


def test_a_bad_frame_id_is_refused(talk: Talk) -> None:
    exchange = Client(talk, FF).attach("connect", frameId="-1")
    assert (talk.status(exchange), talk.body(exchange)) == (500, b"The supplied frameId is in the incorrect format.")


def test_a_message_too_big_names_its_limit() -> None:
    talk = Talk(Settings(max_message_size=10))
    client = Client(talk, LP).start()
    exchange = client.send("x" * 11)
    assert exchange is not None
    assert (talk.status(exchange), b"10 bytes" in talk.body(exchange)) == (413, True)
    assert b"max_message_size" in talk.body(exchange)


def test_a_token_of_an_older_key_still_works() -> None:
    old, new = b"old key old key!", b"new key new key!"
    client = Client(Talk(epoch=1, keys=(old,)), WS)
    client.talk = Talk(epoch=2, keys=(new, old))
    assert client.talk.status(client.attach("connect")) == 101
    client.talk = Talk(epoch=3, keys=(new,))
    assert client.talk.status(client.attach("connect")) == 400


# Origins ----------------------------------------------------------------------------------------

PAGE = {"Origin": "https://app.example", "Host": "api.example"}


def test_a_foreign_page_is_refused_on_every_endpoint_and_transport(talk: Talk) -> None:
    client = Client(talk)
    for path in ("negotiate", "ping", "start", "send", "abort"):
        assert talk.status(talk.open(f"/echo/{path}", client.query(), headers=PAGE)) == 403
    for transport in ALL:
        client.transport = transport
        exchange = talk.open("/echo/connect", client.query(), headers=PAGE, upgrade=transport == WS)
        assert (talk.status(exchange), b"allowed_origins" in talk.body(exchange)) == (403, True)
    assert talk.endpoint.statistics().reactions["allowed_origins"] == 9


def test_an_allowed_page_is_let_in_by_name_on_every_answer() -> None:
    talk = Talk(allowed_origins=["https://app.example"])
    client = Client(talk, SSE)
    for path in ("negotiate", "ping", "connect", "start", "send", "abort", "start"):
        exchange = talk.open(f"/echo/{path}", client.query(), headers=PAGE)
        assert talk.header(exchange, "Access-Control-Allow-Origin") == "https://app.example"
        assert talk.header(exchange, "Access-Control-Allow-Credentials") == "true"
    client.transport = "unknown"
    exchange = talk.open("/echo/connect", client.query(), headers=PAGE)
    assert (talk.status(exchange), talk.header(exchange, "Vary")) == (400, "Origin")


def test_a_preflight_is_answered_before_anything_else() -> None:
    talk = Talk(allowed_origins=["https://app.example"])
    asks = {**PAGE, "Access-Control-Request-Method": "POST"}
    exchange = talk.open("/echo/abort", method="OPTIONS", headers=asks)
    assert talk.status(exchange) == 204
    assert "authorization" in (talk.header(exchange, "Access-Control-Allow-Headers") or "")
    exchange = talk.open("/echo/abort", method="OPTIONS", headers={**asks, "Origin": "https://evil.example"})
    assert (talk.status(exchange), talk.header(exchange, "Access-Control-Allow-Origin")) == (403, None)


def test_a_wrong_origin_entry_fails_at_start() -> None:
    with pytest.raises(ConfigurationError, match="allowed_origins"):
        Talk(allowed_origins=["*"])


# JSONP ------------------------------------------------------------------------------------------


def test_jsonp_wraps_every_answer_when_it_is_on() -> None:
    talk = Talk(Settings(jsonp=True))
    client = Client(talk, LP)
    assert talk.body(talk.open("/echo/ping", "callback=a.b")) == b'a.b({ "Response": "pong" });'
    connected = client.attach("connect", callback="f")
    assert talk.body(connected).startswith(b'f({"C":')
    assert talk.header(connected, "Content-Type") == "application/javascript; charset=UTF-8"
    assert talk.body(client.ask("start", callback="f")) == b'f({ "Response": "started" });'
    assert talk.body(client.ask("start", callback="f")) == b'f({ "Response": "started" });'
    talk.automatic = False
    exchange = client.ask("send", callback="f", data="hello")
    event = talk.events[-1]
    talk.endpoint.complete(event, talk.now, hold=True)
    talk.endpoint.reply(event, Payload({"I": "0"}), talk.now)  # type: ignore[arg-type]
    talk.drain()
    assert talk.body(exchange) == b'f({"I":"0"});'
    client.cursor = json.loads(talk.body(connected)[2:-2])["C"]
    held = client.poll(callback="f")
    talk.pass_time(60)
    assert talk.pieces[held] == []  # a script has no room for signs of life
    assert talk.status(talk.open("/echo/negotiate", "callback=alert(1)")) == 400


# Limits -----------------------------------------------------------------------------------------


def test_a_full_process_says_so_and_when_to_try_again() -> None:
    talk = Talk(Settings(max_connections=1))
    client = Client(talk)
    late = Client(talk)
    client.attach("connect")
    for exchange in (talk.open("/echo/negotiate"), late.attach("connect")):
        assert (talk.status(exchange), talk.header(exchange, "Retry-After")) == (503, "5")
        assert b"max_connections" in talk.body(exchange)
    assert talk.endpoint.statistics().reactions["max_connections"] == 2
    assert talk.status(client.ask("start")) == 200


def test_a_parallel_storm_of_connects_leaves_one(talk: Talk) -> None:
    client = Client(talk, SSE)
    exchanges = [client.attach("connect") for _ in range(1000)]
    assert sum(talk.is_over(exchange) for exchange in exchanges) == 999
    assert talk.endpoint.statistics().connections == 1


# Odd moments ------------------------------------------------------------------------------------


def test_a_sign_of_life_of_a_poll_takes_the_head_with_it(talk: Talk) -> None:
    client = Client(talk, LP).start()
    assert client.exchange is not None
    talk.pass_time(11)
    assert [type(piece) for piece in talk.pieces[client.exchange]] == [Head, Chunk]
    talk.broadcast("x")
    assert talk.json(client.exchange)["M"] == ["x"]


def test_no_sign_of_life_while_something_is_in_flight(talk: Talk) -> None:
    client = Client(talk, SSE).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("x")
    talk.pass_time(11)
    assert {} not in talk.envelopes(client.exchange)


def test_a_socket_displaced_while_behind_is_not_looked_at_again(talk: Talk) -> None:
    client = Client(talk).start()
    older = client.exchange
    assert older is not None
    talk.slow.add(older)
    talk.broadcast("a")
    talk.broadcast("b")
    talk.endpoint.close(client.id, talk.now, allow_reconnect=True)
    client.reconnect()
    talk.sent(older)
    talk.sent(older)
    assert client.take() == ["a", "b"]


def test_a_client_away_is_passed_over_when_several_topics_have_news(talk: Talk) -> None:
    here, away = Client(talk).start(), Client(talk).start()
    for client in (here, away):
        talk.endpoint.join(client.id, "g", talk.now)
    talk.drain()
    away.drop()
    talk.endpoint.publish("all:/echo", Payload(1), talk.now)
    talk.endpoint.publish("group:/echo\ng", Payload(2), talk.now)
    talk.drain()
    assert here.take() == [1, 2]
    away.reconnect()
    assert away.take() == [1, 2]


def test_several_deadlines_at_once_do_not_trip_over_each_other(talk: Talk) -> None:
    client = Client(talk).start()
    talk.endpoint.join(client.id, "g", talk.now)
    talk.drain()
    client.drop()
    talk.now += 10_000  # the machine slept
    talk.endpoint.tick(talk.now)
    talk.drain()
    assert [type(event) for event in talk.events] == [Connected, Disconnected]
    assert talk.until is None or talk.endpoint.statistics().rings.posts


def test_who_leaves_a_group_before_what_was_sent_has_left_still_gets_it(talk: Talk) -> None:
    client = Client(talk).start()
    talk.endpoint.join(client.id, "g", talk.now)
    talk.endpoint.publish("group:/echo\ng", Payload(1), talk.now)
    talk.endpoint.leave(client.id, "g", talk.now)
    talk.endpoint.leave(client.id, "never joined", talk.now)
    talk.drain()
    assert client.take() == [1]


def test_groups_of_an_ended_connection_do_not_come_back(talk: Talk) -> None:
    before = Talk(epoch=1)
    client = Client(before, WS).start()
    before.endpoint.join(client.id, "g", before.now)
    before.drain()
    client.take()
    client.talk = talk
    talk.automatic = False
    client.reconnect()
    client.ask("abort")
    talk.automatic = True
    talk.endpoint.complete(talk.events[0], talk.now)
    talk.drain()
    assert talk.endpoint.statistics().connections == 0


def test_a_transmit_names_all_its_exchanges(talk: Talk) -> None:
    for _ in range(2):
        Client(talk).start()
    talk.endpoint.publish("all:/echo", Payload(1), talk.now)
    output = talk.endpoint.poll()
    assert isinstance(output, Transmit)
    assert len(output.exchanges) == 2
