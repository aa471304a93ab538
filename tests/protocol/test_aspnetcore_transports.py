"""Raw connections of ASP.NET Core clients on their three transports (conformance checklist 16 to 33)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from persistconn import Settings
from persistconn.bus.post import Payload
from persistconn.protocol import (
    RAW_BINARY,
    Abandon,
    Admission,
    Connected,
    Disconnected,
    DisconnectReason,
    End,
    Message,
    Received,
    Resume,
    Transmit,
)
from persistconn.wire.aspnetcore import UNKNOWN_ID

from .aspnetcore_talk import JSON, LP, PACKED, SSE, TRANSPORTS, WS, CoreClient, CoreTalk, statuses

OVER, UNKNOWN = (204, b""), (404, UNKNOWN_ID.encode())


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def talk() -> CoreTalk:
    return CoreTalk()


# All transports -----------------------------------------------------------------------------------


def test_echo_and_stop(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport).start()
    assert statuses(talk, client.say("Hello World!")) == [(200, b"")] * (transport != WS)
    talk.say(client, *talk.heard)
    assert client.got in (["Hello World!"], [b"Hello World!"])
    if transport == LP:
        client.attach()
    client.leave()
    assert [type(event) for event in talk.events] == [Connected, Received, Disconnected]
    assert talk.reason is DisconnectReason.closed
    assert talk.endpoint.statistics().connections == 0
    assert statuses(talk, [client.get(), client.post()]) == [UNKNOWN] * 2


def test_what_the_application_says_before_it_ends_the_connection_arrives(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport).start()
    talk.endpoint.send(client.id, Payload("bye"), talk.now)
    talk.close(client)
    assert client.got in (["bye"], [b"bye"])
    assert talk.pieces[client.line][-1] == End()  # 1000, where that is said
    assert talk.reason is DisconnectReason.aborted


def test_to_let_a_client_come_back_is_to_end_its_connection(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport).start(JSON)
    talk.endpoint.send(client.id, Payload.of_frame(b"close"), talk.now)
    talk.endpoint.close(client.id, talk.now, allow_reconnect=True)
    talk.drain()
    assert client.got in (["close"], [b"close"])
    assert talk.is_over(client.line)
    assert talk.reason is DisconnectReason.aborted


def test_a_client_that_cannot_be_greeted_is_sent_away(talk: CoreTalk, transport: str) -> None:
    talk.automatic = False
    client = CoreClient(talk, transport).start()
    (connected,) = talk.events
    talk.endpoint.complete(connected, talk.now, error=ValueError("no"))
    talk.drain()
    assert talk.pieces[client.line][-1] == (End() if transport == LP else End(1011))
    if transport == LP:
        assert statuses(talk, [client.line, client.get()]) == [OVER, UNKNOWN]


def test_the_application_hears_of_a_connection_before_its_messages(talk: CoreTalk, transport: str) -> None:
    talk.automatic = False
    client = CoreClient(talk, transport).start()
    client.say("one", "two")
    assert [type(event) for event in talk.events] == [Connected]
    talk.finish(client)
    assert talk.heard == ["one"]
    talk.finish(client)
    assert talk.heard == ["two"]


@pytest.mark.parametrize("transport", [WS, SSE])  # of an answer to a poll, the server for HTTP decides
def test_what_is_sent_to_one_that_reads_nothing_ends_it(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport)
    client.attach(slow=True)
    talk.pass_time(25)
    assert Abandon(client.line) in talk.outputs
    assert talk.reason is DisconnectReason.slow


def test_a_sleeper_that_may_skip_goes_on_later() -> None:
    talk = CoreTalk(Settings(slow_policy="skip"))
    client = CoreClient(talk)
    client.attach(slow=True)
    talk.pass_time(60)
    assert talk.endpoint.is_connected(client.id)


def test_who_fell_out_of_the_ring_is_told_goodbye() -> None:
    talk = CoreTalk(Settings(ring_messages=32))
    client = CoreClient(talk).start(JSON)
    talk.slow.add(client.line)
    talk.say(client, b"{}")
    for number in range(200):
        talk.endpoint.send(client.id, Payload(number), talk.now)
    talk.drain()
    talk.sent(client.line)
    assert talk.reason is DisconnectReason.slow
    talk.sent(client.line)
    assert client.got == ["{}", '{"type":7,"allowReconnect":true}\x1e']


def test_shutting_down_says_goodbye_in_the_format_of_each(talk: CoreTalk, transport: str) -> None:
    client, raw = CoreClient(talk, transport).start(JSON), CoreClient(talk, transport).start()
    CoreClient(talk, transport)
    talk.shut_down()
    farewell = '{"type":7,"allowReconnect":true}\x1e'
    assert client.got in ([farewell], [farewell.encode()])
    assert raw.got == []
    assert talk.is_over(client.line) and talk.is_over(raw.line)
    assert {event.reason for event in talk.told(Disconnected)} == {DisconnectReason.shutdown}
    refused = talk.open("/echo/negotiate", method="POST")
    assert (talk.status(refused), talk.header(refused, "retry-after")) == (503, "5")
    if transport == LP:
        assert statuses(talk, [client.get(), client.get(), raw.get()]) == [OVER, UNKNOWN, UNKNOWN]


def test_signs_of_life_are_for_those_whose_format_has_them(talk: CoreTalk, transport: str) -> None:
    client, raw = CoreClient(talk, transport).start(JSON), CoreClient(talk, transport).start()
    talk.pass_time(31)
    assert client.got == ([] if transport == LP else ['{"type":6}\x1e'] * 3)
    assert raw.got == []
    assert talk.endpoint.statistics().connections == 2


def test_who_closes_a_connection_says_goodbye_and_expired_credentials_cannot(talk: CoreTalk) -> None:
    closed = CoreClient(talk).start(PACKED)
    expired = CoreClient(talk, admission=Admission(expires_in=60)).start(PACKED)
    talk.close(closed)
    talk.pass_time(61)
    assert closed.got == []
    assert expired.got[-1] == PACKED.farewell
    assert {event.reason for event in talk.told(Disconnected)} == {DisconnectReason.aborted}


# WebSockets ---------------------------------------------------------------------------------------


def test_a_websocket_need_not_negotiate(talk: CoreTalk) -> None:
    exchange = talk.open("/echo", upgrade=True)
    other = talk.open("/echo", "id=", upgrade=True)
    connected = talk.told(Connected)
    assert [talk.status(one) for one in (exchange, other)] == [101, 101]
    assert exchange.connection_id == connected[0].connection_id != connected[1].connection_id
    talk.endpoint.send(connected[0].connection_id, Payload("hi"), talk.now)
    talk.drain()
    assert talk.units(exchange) == ["hi"]
    assert not talk.endpoint.terms.is_resumable(connected[0].connection_id)
    assert talk.status(talk.open("/echo", "id=", upgrade=True, method="POST")) == 400


def test_text_and_bytes_are_both_taken(talk: CoreTalk) -> None:
    client = CoreClient(talk).start()
    client.say("text", b"bytes", "")
    assert talk.heard == ["text", b"bytes", ""]


def test_the_format_says_how_messages_are_marked(talk: CoreTalk) -> None:
    client = CoreClient(talk).start()
    talk.say(client, "text", b"\xff")
    talk.speak(client, RAW_BINARY)
    talk.say(client, "binary")
    talk.speak(client, JSON)
    talk.say(client, b"{}\x1e")
    assert client.got == ["text", b"\xff", b"binary", "{}\x1e"]


def test_what_has_been_sent_keeps_its_format(talk: CoreTalk) -> None:
    client = CoreClient(talk).start()
    talk.endpoint.send(client.id, Payload.of_frame(b"{}\x1e"), talk.now)
    talk.endpoint.terms.speak(client.id, PACKED, talk.now)
    talk.endpoint.send(client.id, Payload.of_frame(b"\x02\x91\x06"), talk.now)
    talk.drain()
    assert client.got == ["{}\x1e", b"\x02\x91\x06"]


def test_a_websocket_that_says_too_much_is_not_read(talk: CoreTalk) -> None:
    talk.automatic = False
    client = CoreClient(talk).start()
    client.say(*map(str, range(64)))
    assert client.line.paused
    while client.line.paused:
        talk.finish(client)
    assert Resume(client.line) in talk.outputs


def test_parts_are_for_routes_that_take_them(talk: CoreTalk) -> None:
    assert CoreClient(talk, path="/parts").start().line.parts
    assert not CoreClient(talk).start().line.parts


def test_a_lost_websocket_ends_the_connection(talk: CoreTalk) -> None:
    client = CoreClient(talk).start()
    client.drop()
    assert talk.reason is DisconnectReason.closed
    client.drop()
    assert len(talk.told(Disconnected)) == 1


# Server-sent events -------------------------------------------------------------------------------


def test_an_event_stream_begins_with_a_comment(talk: CoreTalk) -> None:
    client = CoreClient(talk, SSE).start()
    assert talk.body(client.line) == b":\r\n"
    assert talk.header(client.line, "content-type") == "text/event-stream"
    assert talk.header(client.line, "content-encoding") == "identity"
    assert "no-cache" in (talk.header(client.line, "cache-control") or "")
    talk.say(client, "a\nb\r\nc")
    assert talk.body(client.line) == b":\r\ndata: a\r\ndata: b\r\ndata: c\r\n\r\n"


def test_whoever_leaves_an_event_stream_has_gone(talk: CoreTalk) -> None:
    client = CoreClient(talk, SSE).start()
    client.drop()
    assert talk.reason is DisconnectReason.closed


# Long polling -------------------------------------------------------------------------------------


def test_the_first_poll_is_answered_at_once_and_empty(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP)
    talk.say(client, "early")
    first = client.get()
    assert statuses(talk, [first]) == [(200, b"")] and talk.is_over(first)
    assert talk.header(first, "content-type") == "application/octet-stream"
    for name, value in (("cache-control", "no-cache, no-store"), ("pragma", "no-cache")):
        assert talk.header(first, name) == value
    assert statuses(talk, [client.get()]) == [(200, b"early")]


def test_a_poll_waits_for_data_and_not_for_ever(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    assert talk.pieces[client.line] == []
    talk.pass_time(89)
    assert talk.pieces[client.line] == []
    talk.pass_time(2)
    assert statuses(talk, [client.line]) == [(200, b"")]
    assert talk.header(client.line, "content-type") == "text/plain"
    client.attach()
    talk.say(client, "one")
    talk.say(client, "two")
    talk.say(client, "three")
    assert statuses(talk, [client.line, client.get()]) == [(200, b"one"), (200, b"twothree")]


def test_a_newer_poll_takes_over(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    older, newer = client.line, client.attach()
    talk.say(client, "data")
    assert statuses(talk, [older, newer]) == [OVER, (200, b"data")]


def test_a_poll_that_was_taken_over_may_be_lost(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    older = client.line
    talk.slow.add(older)
    newer = client.attach()
    talk.lost(older)  # its 204 was still being written
    talk.say(client, "data")
    assert statuses(talk, [newer]) == [(200, b"data")]
    assert talk.told(Disconnected) == []


def test_an_empty_answer_may_be_lost(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    talk.slow.add(client.line)
    talk.pass_time(91)
    talk.lost(client.line)
    assert talk.told(Disconnected) == []


@pytest.mark.parametrize("polls", [False, True])
def test_an_answer_with_data_that_is_lost_ends_the_connection(talk: CoreTalk, polls: bool) -> None:
    client = CoreClient(talk, LP).start()
    first = client.line
    talk.slow.add(first)
    talk.say(client, "one")
    newer = client.attach() if polls else None
    talk.lost(first)
    talk.lost(first)
    assert talk.reason is DisconnectReason.closed
    assert newer is None or statuses(talk, [newer]) == [OVER]
    assert statuses(talk, [client.get()]) == [UNKNOWN]


def test_a_poll_that_is_given_up_takes_no_data_along(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    client.drop()
    talk.say(client, "kept")
    assert statuses(talk, [client.get()]) == [(200, b"kept")]


def test_a_poll_that_was_written_may_be_forgotten(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    talk.say(client, "one")
    client.drop()
    assert talk.told(Disconnected) == []


def test_what_is_left_at_the_end_is_polled_and_then_the_end(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    talk.say(client, "one")
    talk.say(client, "two", "three")
    talk.close(client)
    assert statuses(talk, [client.get(), client.get(), client.get()]) == [(200, b"twothree"), OVER, UNKNOWN]
    assert talk.header(client.line, "cache-control") == "no-cache, no-store"


def test_a_poll_that_waits_gets_the_rest_or_the_end(talk: CoreTalk) -> None:
    told, untold = CoreClient(talk, LP).start(), CoreClient(talk, LP).start()
    talk.endpoint.send(told.id, Payload("rest"), talk.now)
    talk.close(told)
    talk.close(untold)
    assert statuses(talk, [told.line, told.get(), told.get()]) == [(200, b"rest"), OVER, UNKNOWN]
    assert statuses(talk, [untold.line, untold.get()]) == [OVER, UNKNOWN]


def test_last_words_are_for_who_they_were_said_to_and_not_for_ever(talk: CoreTalk) -> None:
    client, late = (CoreClient(talk, LP, user="ann").start() for _ in range(2))
    for one in (client, late):
        talk.say(one, "one")
        talk.say(one, "secret")
        talk.close(one)
    assert statuses(talk, [client.get(user="bob")]) == [UNKNOWN]
    client.path = "/other"
    assert statuses(talk, [client.get()]) == [UNKNOWN]
    client.path = "/echo"
    assert statuses(talk, [client.get()]) == [(200, b"secret")]
    talk.pass_time(31)
    assert statuses(talk, [client.get(), late.get()]) == [UNKNOWN] * 2


def test_of_very_many_ends_the_oldest_are_forgotten() -> None:
    talk = CoreTalk(Settings(ended_ids=2))
    clients = [CoreClient(talk, LP).start() for _ in range(3)]
    for client in clients:
        talk.say(client, "data")
        talk.close(client)
    assert statuses(talk, [client.get() for client in clients]) == [UNKNOWN, OVER, OVER]


def test_of_very_much_that_was_said_last_the_oldest_is_forgotten(talk: CoreTalk) -> None:
    clients = [CoreClient(talk, LP).start() for _ in range(20)]
    for client in clients:
        talk.say(client, "data")
        talk.say(client, b"x" * 1_000_000)
        talk.close(client)
    assert [talk.status(client.get()) for client in clients] == [404] * 4 + [200] * 16


def test_stopping_answers_the_poll(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    assert statuses(talk, [client.delete(), client.line, client.delete(), client.get()]) == [
        (202, b""), OVER, UNKNOWN, UNKNOWN,
    ]  # fmt: skip
    assert talk.reason is DisconnectReason.closed


def test_stopping_while_an_answer_is_on_its_way(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP).start()
    talk.slow.add(client.line)
    talk.say(client, "data")
    assert statuses(talk, [client.delete()]) == [(202, b"")]
    talk.sent(client.line)
    talk.lost(client.line)
    assert statuses(talk, [client.line]) == [(200, b"data")]
    assert talk.reason is DisconnectReason.closed


def test_who_polls_no_more_has_gone(talk: CoreTalk) -> None:
    client, gone = CoreClient(talk, LP).start(), CoreClient(talk, LP)
    gone.attach()
    for _ in range(5):
        talk.say(client, "data")
        talk.pass_time(25)
        client.attach()
    (end,) = talk.told(Disconnected)
    assert (end.connection_id, end.reason) == (gone.id, DisconnectReason.timed_out)
    assert statuses(talk, [gone.get()]) == [UNKNOWN]


# Sends --------------------------------------------------------------------------------------------


def test_a_send_before_the_first_poll_waits_for_it(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP)
    assert statuses(talk, client.say("handshake", "more")) == [(200, b"")] * 2
    assert talk.events == []
    client.start()
    assert [type(event) for event in talk.events] == [Connected, Received, Received]


def test_without_a_transport_only_a_little_is_taken(talk: CoreTalk) -> None:
    client = CoreClient(talk, LP)
    large = "x" * 10_000
    assert [talk.status(client.post(large)) for _ in range(3)] == [200, 429, 429]
    client.start()
    assert statuses(talk, [client.post(large)]) == [(200, b"")]
    assert talk.heard == [large, large]


def test_data_is_text_where_it_can_be_until_the_format_is_binary(talk: CoreTalk) -> None:
    client = CoreClient(talk, SSE).start()
    client.say(b"text", b"\xff", b"")
    talk.speak(client, RAW_BINARY)
    client.say(b"bytes")
    assert talk.heard == ["text", b"\xff", b"bytes"]


def test_sends_are_held_until_there_is_room(talk: CoreTalk) -> None:
    talk.automatic = False
    client = CoreClient(talk, LP).start()
    talk.finish(client)
    posts = client.say(*map(str, range(80)))
    assert [bool(talk.pieces[post]) for post in posts] == [True] * 65 + [False] * 15
    assert talk.heard == ["0"]
    heard: list[str] = []
    while received := talk.told(Received):
        heard += [event.data for event in received]
        talk.finish(client)
    assert heard == list(map(str, range(80)))
    assert statuses(talk, posts) == [(200, b"")] * 80


def test_only_so_many_are_held(talk: CoreTalk) -> None:
    talk = CoreTalk(Settings(inbox_messages=2))
    talk.automatic = False
    client = CoreClient(talk, SSE).start()
    talk.finish(client)
    posts = client.say(*"123456")
    assert [talk.status(post) if talk.pieces[post] else None for post in posts] == [200, 200, 200, None, None, 429]
    assert talk.endpoint.statistics().reactions["inbox_messages"] > 0


def test_one_that_is_held_may_be_lost(talk: CoreTalk) -> None:
    talk = CoreTalk(Settings(inbox_messages=2))
    talk.automatic = False
    client = CoreClient(talk, SSE).start()
    talk.finish(client)
    posts = client.say(*"12345")
    talk.lost(posts[3])
    heard: list[str] = []
    while received := talk.told(Received):
        heard += [event.data for event in received]
        talk.finish(client)
    assert heard == [*"12345"]  # it had come whole
    assert [len(talk.pieces[post]) for post in posts] == [2, 2, 2, 0, 2]


def test_held_requests_are_404_when_the_connection_ends(talk: CoreTalk) -> None:
    talk = CoreTalk(Settings(inbox_messages=2))
    talk.automatic = False
    client = CoreClient(talk, LP).start()
    talk.finish(client)
    *_, lost, held = client.say(*"12345")
    talk.lost(lost)
    client.delete()
    assert talk.pieces[lost] == []
    assert statuses(talk, [held]) == [(404, b"")]


# Broadcasts ---------------------------------------------------------------------------------------


def test_one_transmit_per_transport_and_format(talk: CoreTalk) -> None:
    audience = [CoreClient(talk, transport).start(format) for transport in TRANSPORTS for format in (JSON, PACKED)]
    audience += [CoreClient(talk, transport).start(format) for transport in TRANSPORTS for format in (JSON, PACKED)]
    made: list[str] = []

    def form(name: str) -> Callable[[str], bytes]:
        return lambda value: made.append(name) or f"{name}:{value}".encode()

    forms = {name: form(name) for name in ("json", "messagepack")}
    transmits = talk.publish(Payload.of_forms("x", forms, b'"x"'))
    assert [len(output.exchanges) for output in transmits] == [2] * 6
    assert sorted(made) == ["json", "messagepack"]
    assert [client.got for client in audience[:6]] == [
        ["json:x"], [b"messagepack:x"], ["json:x"], ["messagepack:x"], [b"json:x"], [b"messagepack:x"],
    ]  # fmt: skip
    assert [client.got for client in audience[6:]] == [client.got for client in audience[:6]]


def test_one_who_is_excluded_or_behind_is_served_apart(talk: CoreTalk) -> None:
    one, excluded, slow = (CoreClient(talk).start(JSON) for _ in range(3))
    talk.slow.add(slow.line)
    talk.broadcast(1, exclude=(excluded.id,))
    talk.broadcast(2)
    talk.sent(slow.line)
    assert [one.got, excluded.got, slow.got] == [["1", "2"], ["2"], ["1", "2"]]


def test_frames_are_joined_up_to_a_size(talk: CoreTalk) -> None:
    client = CoreClient(talk).start(JSON)
    sizes = [10, 20, 262_144 - 30, 1, 300_000, 5]
    talk.say(client, *[b"x" * size for size in sizes])
    assert [len(unit) for unit in client.got] == [262_144, 1, 300_000, 5]


def test_raw_data_is_not_joined_but_in_a_poll(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport).start()
    talk.say(client, "one", "two")
    assert client.got == ([b"onetwo"] if transport == LP else ["one", "two"])


def test_subscribing_counts_from_then_on(talk: CoreTalk) -> None:
    client, other = CoreClient(talk).start(), CoreClient(talk).start()
    topic = "topic:/echo\nred"
    talk.endpoint.terms.subscribe(other.id, "red", talk.now)
    talk.endpoint.publish(topic, Payload("before"), talk.now)
    talk.endpoint.terms.subscribe(client.id, "red", talk.now)
    talk.endpoint.terms.subscribe("nobody", "red", talk.now)
    talk.publish(Payload("after"), topic)
    assert (client.got, other.got) == (["after"], ["before", "after"])
    assert talk.endpoint.terms.topics_of(client.id) == ("red",)
    assert talk.endpoint.terms.topics_of("nobody") == ()
    client.drop()
    assert len(talk.publish(Payload("x"), topic)[0].exchanges) == 1


def test_groups_need_no_token(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport).start()
    talk.endpoint.join(client.id, "g", talk.now)
    talk.drain()
    assert client.got == []
    talk.to_group("g", "in")
    talk.endpoint.leave(client.id, "g", talk.now)
    talk.to_group("g", "out")
    assert client.got in (["in"], [b"in"])


def test_senders_wait_for_who_is_behind(talk: CoreTalk, transport: str) -> None:
    talk = CoreTalk(Settings(send_high_water=4))
    client = CoreClient(talk, transport)
    client.attach()
    if transport == LP:
        assert [talk.endpoint.send(client.id, Payload("x"), talk.now) for _ in range(6)].count(False) == 2
        assert statuses(talk, [client.get()]) == [(200, b"xxxxxx")]
    else:
        talk.slow.add(client.line)
        talk.say(client, "first")
        assert [talk.endpoint.send(client.id, Payload("x"), talk.now) for _ in range(6)].count(False) == 2
        talk.sent(client.line)
        assert len(client.got) == 7


def test_frames_that_are_ready_look_the_same_in_each_piece() -> None:
    talk = CoreTalk()
    clients = [CoreClient(talk).start(JSON) for _ in range(3)]
    (output,) = talk.publish(Payload("x"))
    assert isinstance(output, Transmit)
    assert list(output.exchanges) == [client.line for client in clients]
    assert output.pieces == (Message(b'"x"', text=True),)
