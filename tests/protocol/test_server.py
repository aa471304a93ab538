"""The endpoint as its embedder and its clients see it, on every transport."""

from __future__ import annotations

import json

import pytest

from persistconn import Settings
from persistconn.bus.post import Payload
from persistconn.errors import ConfigurationError, LocalProtocolError
from persistconn.protocol import (
    Connected,
    Disconnected,
    DisconnectReason,
    Drained,
    Gap,
    Received,
    Reconnected,
    Rejoining,
    Resume,
    Route,
    ServerEndpoint,
    Transmit,
    Wait,
)
from persistconn.wire.http import Chunk, End, Head, Message, Ping

from .talk import ALL, FF, KEY, LP, SSE, STREAMS, WS, Client, Talk


@pytest.fixture(params=ALL)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# A conversation ---------------------------------------------------------------------------------


def test_connect_start_send_abort(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport)
    first = client.attach("connect")
    assert talk.envelopes(first)[0] == {"C": talk.envelopes(first)[0]["C"], "S": 1, "M": []}
    assert talk.events == []  # the application hears of it at /start
    client.take()
    assert talk.body(client.ask("start")) == b'{ "Response": "started" }'
    if transport == LP:
        client.poll()
    answer = client.send('"hello"')
    assert answer is None or (talk.status(answer), talk.body(answer)) == (200, b"")
    talk.endpoint.send(client.id, Payload("hello"), talk.now)
    talk.drain()
    assert client.take() == ["hello"]
    if transport == LP:
        client.poll()
    end = client.ask("abort")
    assert (talk.status(end), talk.header(end, "Content-Type")) == (200, "text/plain")
    assert client.exchange is not None
    assert talk.is_over(client.exchange)
    assert [type(event) for event in talk.events] == [Connected, Received, Disconnected]
    assert talk.events[-1].reason is DisconnectReason.closed  # type: ignore[attr-defined]
    assert talk.endpoint.statistics().connections == 0
    assert not talk.endpoint.is_connected(client.id)


def test_one_envelope_is_shared_by_all_who_are_at_the_same_place() -> None:
    talk = Talk()
    clients = [Client(talk, WS).start() for _ in range(5)]
    talk.endpoint.publish("all:/echo", Payload("x"), talk.now)
    output = talk.endpoint.poll()
    assert isinstance(output, Transmit)
    assert list(output.exchanges) == [client.exchange for client in clients]
    assert len(output.pieces) == 1


def test_every_transport_gets_the_same_broadcast_in_its_own_frame() -> None:
    talk = Talk()
    clients = [Client(talk, transport).start() for transport in ALL]
    talk.broadcast("x", exclude=(clients[0].id,))
    assert [client.take() for client in clients] == [[], ["x"], ["x"], ["x"]]


def test_news_of_several_topics_come_in_order_to_those_who_read_several() -> None:
    talk = Talk()
    one, two, both = (Client(talk, WS).start() for _ in range(3))
    talk.endpoint.join(two.id, "g", talk.now)
    talk.endpoint.join(both.id, "g", talk.now)
    talk.endpoint.join(both.id, "h", talk.now)
    talk.drain()
    for topic, data in (("all:/echo", 1), ("group:/echo\ng", 2), ("group:/echo\nh", 3), ("all:/echo", 4)):
        talk.endpoint.publish(topic, Payload(data), talk.now)
    talk.drain()
    assert [client.take() for client in (one, two, both)] == [[1, 4], [1, 2, 4], [1, 2, 3, 4]]


def test_what_gathers_while_a_write_is_in_flight_leaves_as_one_batch() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    for number in range(4):
        talk.broadcast(number)
    assert client.take() == [0]
    talk.sent(client.exchange)
    assert [envelope["M"] for envelope in talk.envelopes(client.exchange)[1:]] == [[0], [1, 2, 3]]


def test_an_end_waits_for_its_turn() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    talk.endpoint.send(client.id, Payload("and this"), talk.now)
    talk.endpoint.close(client.id, talk.now, reason="enough")
    talk.drain()
    assert not talk.is_over(client.exchange)
    talk.sent(client.exchange)
    assert talk.is_over(client.exchange)
    assert talk.envelopes(client.exchange)[-1]["E"] == "enough"
    assert talk.got(client.exchange) == ["in flight", "and this"]


def test_a_reader_beyond_a_batch_gets_the_rest_next() -> None:
    talk = Talk(Settings(batch_messages=3))
    client = Client(talk, WS).start()
    talk.broadcast(*range(2))
    for number in range(7):
        talk.endpoint.publish("all:/echo", Payload(number), talk.now)
    talk.drain()
    assert client.exchange is not None
    assert [envelope["M"] for envelope in talk.envelopes(client.exchange)[2:]] == [[0, 1, 2], [3, 4, 5], [6]]


def test_on_connected_sends_before_started_is_answered(transport: str) -> None:
    talk = Talk()
    talk.automatic = False
    client = Client(talk, transport)
    client.attach("connect")
    client.take()
    if transport == LP:
        client.poll()
    start = client.ask("start")
    again = client.ask("start")
    (event,) = talk.events
    talk.endpoint.join(client.id, "lobby", talk.now)
    talk.endpoint.send(client.id, Payload("welcome"), talk.now)
    assert talk.pieces[start] == []
    talk.endpoint.complete(event, talk.now)
    order = [exchange for output in talk.drain() if isinstance(output, Transmit) for exchange in output.exchanges]
    assert order == [client.exchange, start, again]
    assert client.take() == ["welcome"]
    assert client.groups_token is not None
    assert talk.body(client.ask("start")) == b'{ "Response": "started" }'


def test_a_failing_on_connected_refuses_the_client() -> None:
    talk = Talk()
    talk.automatic = False
    client = Client(talk, WS)
    client.attach("connect")
    start = client.ask("start")
    talk.endpoint.complete(talk.events[0], talk.now, error=RuntimeError("no"))
    talk.drain()
    assert talk.status(start) == 500
    assert client.exchange is not None
    assert talk.is_over(client.exchange)
    assert isinstance(talk.events[-1], Disconnected)


def test_old_clients_are_announced_when_they_connect(transport: str) -> None:
    talk = Talk()
    Client(talk, transport, protocol="1.3").attach("connect")
    assert [type(event) for event in talk.events] == [Connected]


def test_a_client_that_never_starts_is_announced_by_its_first_message() -> None:
    talk = Talk()
    client = Client(talk, WS)
    client.attach("connect")
    client.send("hi")
    assert [type(event) for event in talk.events] == [Connected, Received]
    assert talk.status(client.ask("start")) == 200
    assert len(talk.events) == 2


def test_start_may_come_before_its_transport(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport)
    client.ask("start")
    talk.endpoint.send(client.id, Payload("early"), talk.now)
    talk.drain()
    client.attach("connect")
    assert client.take() == ["early"]
    assert [type(event) for event in talk.events] == [Connected]


def test_a_start_whose_transport_never_comes_ends() -> None:
    talk = Talk()
    Client(talk, WS).ask("start")
    talk.pass_time(36)
    assert [type(event) for event in talk.events] == [Connected, Disconnected]


# Fallback, displacement, reconnects -------------------------------------------------------------


def test_fallback_keeps_the_id_and_what_came_meanwhile() -> None:
    talk = Talk()
    client = Client(talk, WS)
    lost = client.attach("connect")
    talk.broadcast("while it tried")
    talk.lost(lost)
    talk.broadcast("while nobody was there")
    client.transport = SSE
    client.attach("connect")
    assert talk.envelopes(client.exchange)[0]["S"] == 1  # type: ignore[arg-type]
    assert client.take() == ["while it tried", "while nobody was there"]
    client.ask("start")
    assert [type(event) for event in talk.events] == [Connected]


def test_a_newer_transport_ends_the_older(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    older = client.exchange
    assert older is not None
    client.reconnect()
    assert talk.is_over(older)
    if transport == LP:
        assert talk.json(older)["M"] == []
    talk.broadcast("x")
    assert client.take() == ["x"]
    assert talk.got(older) == []
    talk.lost(older)  # late news of the old one change nothing
    talk.broadcast("y")
    if transport != LP:
        assert client.take() == ["y"]


def test_a_displaced_transport_in_flight_ends_when_it_may() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    older = client.exchange
    assert older is not None
    talk.slow.add(older)
    talk.broadcast("in flight")
    client.reconnect()
    assert not talk.is_over(older)
    talk.sent(older)
    assert talk.is_over(older)
    assert client.take() == ["in flight"]  # the client quoted what it had before


def test_reconnect_brings_all_that_was_sent_meanwhile_once_and_in_order(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    client.drop()
    talk.broadcast(*range(1000))
    client.reconnect()
    client.take()
    assert client.messages == list(range(1000))
    (event,) = talk.told(Reconnected)
    assert (event.recovered, event.missed, event.adopted) == (True, 0, False)


def test_a_lost_answer_is_given_again() -> None:
    talk = Talk()
    client = Client(talk, LP).start()
    talk.broadcast("a")
    cursor = client.cursor
    lost = client.exchange
    client.poll()  # it never saw "a": it quotes what it had
    assert lost is not client.exchange
    assert client.take() == ["a"]
    client.poll()
    assert client.cursor != cursor
    talk.broadcast("b")
    assert client.take() == ["b"]


def test_what_was_in_flight_when_the_line_broke_comes_again() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("lost on the way")
    client.drop()
    client.reconnect()
    assert client.take() == ["lost on the way"]


def test_a_gap_is_told_with_its_size_before_anything_later(transport: str) -> None:
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, transport).start()
    client.drop()
    talk.broadcast(*range(41))
    client.reconnect()
    (event,) = talk.told(Reconnected)
    assert (event.recovered, event.missed) == (False, 9)
    assert client.take() == list(range(9, 41))


def test_a_cursor_that_cannot_be_read_goes_on_where_we_stopped_and_says_so(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    client.drop()
    talk.broadcast("kept")
    client.cursor = "rubbish"
    client.reconnect()
    assert client.take() == ["kept"]
    (event,) = talk.told(Reconnected)
    assert (event.recovered, event.missed) == (False, None)


def test_a_cursor_from_the_future_goes_on_where_we_stopped() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    client.drop()
    assert client.cursor is not None
    client.cursor = client.cursor.partition("-")[0] + "-999999"
    talk.broadcast("kept")
    client.reconnect()
    assert client.take() == ["kept"]


def test_a_connect_without_a_position_goes_on_and_admits_that_something_may_be_lost() -> None:
    talk = Talk()
    client = Client(talk, SSE).start()
    talk.broadcast("seen")
    client.drop()
    talk.broadcast("missed")
    client.attach("connect")
    assert talk.envelopes(client.exchange)[0]["S"] == 1  # type: ignore[arg-type]
    assert client.take() == ["missed"]
    (event,) = talk.told(Reconnected)
    assert (event.recovered, event.missed) == (False, None)


def test_a_connect_with_a_position_is_a_reconnect() -> None:
    talk = Talk()
    client = Client(talk, SSE).start()
    client.drop()
    talk.broadcast("missed")
    client.attach("connect", messageId=client.cursor)
    assert client.take() == ["missed"]
    assert talk.told(Reconnected)[0].recovered


def test_a_reconnect_before_the_start_announces_the_connection() -> None:
    talk = Talk()
    client = Client(talk, WS)
    client.attach("connect")
    client.take()
    client.drop()
    client.reconnect()
    assert [type(event) for event in talk.events] == [Connected]


def test_two_reconnects_in_a_row_are_one_piece_of_news() -> None:
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, WS).start()
    talk.automatic = False
    client.send("busy")
    for _ in range(2):
        client.drop()
        talk.broadcast(*range(41))
        client.reconnect()
        client.take()
    talk.automatic = True
    talk.endpoint.complete(talk.events[-1], talk.now)
    talk.drain()
    (event,) = talk.told(Reconnected)
    assert (event.recovered, event.missed) == (False, 82 - len(client.messages))


def test_an_unknown_gap_stays_unknown_among_two_reconnects() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    talk.automatic = False
    client.send("busy")
    for _ in range(2):
        client.drop()
        client.cursor = "?"
        client.reconnect()
    talk.endpoint.complete(talk.events[-1], talk.now)
    talk.drain()
    assert talk.told(Reconnected)[0].missed is None


# Another process --------------------------------------------------------------------------------


def test_a_connection_of_another_process_is_adopted_with_its_groups(transport: str) -> None:
    before = Talk(epoch=1)
    client = Client(before, transport).start()
    before.endpoint.join(client.id, "lobby", before.now)
    before.endpoint.join(client.id, "attic", before.now)
    before.drain()
    client.take()
    if transport == LP:
        client.poll()
        client.take()
    after = client.talk = Talk(epoch=2)
    client.reconnect()
    rejoining, reconnected = after.events
    assert isinstance(rejoining, Rejoining)
    assert rejoining.groups == ("attic", "lobby")
    assert isinstance(reconnected, Reconnected)
    assert (reconnected.recovered, reconnected.missed, reconnected.adopted) == (False, None, True)
    client.take()
    if transport == LP:
        client.poll()
    after.to_group("lobby", "again")
    assert client.take() == ["again"]


def test_the_application_decides_which_groups_are_kept() -> None:
    before = Talk(epoch=1)
    client = Client(before, WS).start()
    for name in ("a", "b"):
        before.endpoint.join(client.id, name, before.now)
    before.drain()
    client.take()
    for answer, error, kept in ((["b"], None, ["b"]), (None, RuntimeError("no"), [])):
        after = client.talk = Talk(epoch=2)
        after.automatic = False
        client.reconnect()
        after.endpoint.complete(after.events[0], after.now, answer=answer, error=error)
        after.drain()
        for name in ("a", "b"):
            after.to_group(name, name)
        assert client.take() == kept


def test_an_adopted_client_that_lost_our_first_answer_gets_it_again() -> None:
    before = Talk(epoch=1)
    client = Client(before, WS).start()
    after = client.talk = Talk(epoch=2)
    client.reconnect()
    after.broadcast("sent into the void")
    client.drop()
    client.reconnect()  # it still quotes the old epoch
    assert client.take() == ["sent into the void"]
    assert [event.recovered for event in after.told(Reconnected)] == [False, True]


def test_a_message_of_an_unknown_connection_adopts_it() -> None:
    client = Client(Talk(epoch=1), LP).start()
    after = client.talk = Talk(epoch=2)
    client.send("hi")
    assert [type(event) for event in after.events] == [Reconnected, Received]
    client.poll()
    assert [type(event) for event in after.events] == [Reconnected, Received]


def test_a_poll_adopts_too() -> None:
    client = Client(Talk(epoch=1), LP).start()
    after = client.talk = Talk(epoch=2)
    client.poll()
    assert [type(event) for event in after.events] == [Reconnected]


# Groups -----------------------------------------------------------------------------------------


def test_join_and_leave_take_effect_where_they_stand(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    at = talk.endpoint
    at.publish("group:/echo\ng", Payload(0), talk.now)
    at.join(client.id, "g", talk.now)
    at.join(client.id, "g", talk.now)
    at.publish("group:/echo\ng", Payload(1), talk.now)
    at.leave(client.id, "g", talk.now)
    at.leave(client.id, "g", talk.now)
    at.publish("group:/echo\ng", Payload(2), talk.now)
    talk.drain()
    client.take()
    while transport == LP and client.poll() and client.take():
        pass
    assert client.messages == [1]


def test_a_group_change_alone_answers_a_poll_with_a_new_token() -> None:
    talk = Talk()
    client = Client(talk, LP).start()
    talk.endpoint.join(client.id, "g", talk.now)
    talk.drain()
    assert client.exchange is not None
    answer = talk.json(client.exchange)
    assert (answer["M"], "G" in answer) == ([], True)


def test_a_groups_token_that_got_lost_is_sent_again(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    talk.endpoint.join(client.id, "g", talk.now)
    talk.drain()
    client.drop()
    client.reconnect()  # neither token nor position tell that it arrived
    client.take()
    assert client.groups_token is not None
    client.drop()
    client.reconnect()
    assert client.exchange is not None
    assert not [envelope for envelope in talk.envelopes(client.exchange) if "G" in envelope]


def test_a_client_that_never_quotes_tokens_is_not_polled_in_circles() -> None:
    talk = Talk()
    client = Client(talk, LP).start()
    talk.endpoint.join(client.id, "g", talk.now)
    talk.drain()
    client.take()
    client.groups_token = None
    client.poll()
    assert client.exchange is not None
    assert talk.pieces[client.exchange] == []  # it is held


def test_a_groups_token_is_renewed_before_it_expires() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    talk.endpoint.join(client.id, "g", talk.now)
    talk.drain()
    client.take()
    first = client.groups_token
    talk.pass_time(149)
    client.take()
    assert client.groups_token not in (None, first)


def test_a_group_too_many_is_an_error_that_names_the_limit() -> None:
    talk = Talk(Settings(max_groups=1))
    client = Client(talk, WS).start()
    talk.endpoint.join(client.id, "a", talk.now)
    with pytest.raises(LocalProtocolError, match="max_groups"):
        talk.endpoint.join(client.id, "b", talk.now)
    assert talk.endpoint.statistics().reactions == {"max_groups": 1}


def test_a_sender_whose_client_keeps_up_never_waits() -> None:
    talk = Talk()
    client = Client(talk).start()
    for number in range(600):  # more than twice send_high_water
        talk.now += 0.01
        assert talk.endpoint.send(client.id, Payload(number), talk.now) is True
        talk.drain()
    assert client.take() == list(range(600))


def test_two_forever_frames_get_the_same_script() -> None:
    talk = Talk()
    clients = [Client(talk, FF).start() for _ in range(2)]
    talk.broadcast("to all")
    assert [client.take() for client in clients] == [["to all"], ["to all"]]


def test_ids_that_nobody_has_are_no_error() -> None:
    talk = Talk()
    at = talk.endpoint
    at.join("x", "g", talk.now)
    at.leave("x", "g", talk.now)
    at.close("x", talk.now)
    assert at.send("x", Payload(1), talk.now) is None
    assert talk.drain() == []


# Ends -------------------------------------------------------------------------------------------


def test_silence_is_a_time_out(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    client.drop()
    talk.pass_time(29.9)
    assert not talk.told(Disconnected)
    talk.pass_time(5.2)
    (event,) = talk.told(Disconnected)
    assert event.reason is DisconnectReason.timed_out
    assert talk.endpoint.statistics().ended == {"timed_out": 1}
    assert talk.until is None or talk.endpoint.statistics().rings.posts


def test_who_comes_back_after_the_time_out_is_adopted() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    client.drop()
    talk.pass_time(40)
    client.reconnect()
    assert [type(event) for event in talk.events] == [Connected, Disconnected, Reconnected]


def test_who_comes_back_while_the_end_is_being_told_is_asked_to_try_again() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    client.drop()
    talk.automatic = False
    talk.pass_time(40)
    exchange = client.reconnect()
    assert (talk.status(exchange), talk.header(exchange, "Retry-After")) == (503, "5")


def test_a_transport_that_is_lost_before_the_start_is_never_mentioned(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport)
    client.attach("connect")
    client.drop()
    talk.pass_time(60)
    assert talk.events == []
    assert talk.endpoint.statistics().connections == 0


def test_an_abort_before_the_start_is_never_mentioned() -> None:
    talk = Talk()
    client = Client(talk, WS)
    client.attach("connect")
    client.ask("abort")
    assert talk.events == []


def test_an_abort_during_the_start_waits_for_it() -> None:
    talk = Talk()
    talk.automatic = False
    client = Client(talk, WS)
    client.attach("connect")
    start = client.ask("start")
    talk.lost(start)
    client.ask("abort")
    client.ask("abort")
    assert len(talk.events) == 1
    talk.endpoint.complete(talk.events[0], talk.now)
    talk.drain()
    assert [type(event) for event in talk.events] == [Connected, Disconnected]
    assert talk.pieces[start] == []


def test_an_abort_between_two_polls_ends_at_once() -> None:
    talk = Talk()
    client = Client(talk, LP).start()
    talk.broadcast("x")
    client.ask("abort")
    assert talk.told(Disconnected)[0].reason is DisconnectReason.closed


@pytest.mark.parametrize("protocol", ["2.1", "1.5", "1.3"])
def test_an_ended_connection_does_not_come_back(transport: str, protocol: str) -> None:
    talk = Talk()
    client = Client(talk, transport, protocol).start()
    talk.endpoint.close(client.id, talk.now, reason="go")
    talk.drain()
    assert client.exchange is not None
    farewell = talk.envelopes(client.exchange)[-1]
    assert (farewell["E"], farewell.get("D")) == ("go", 1 if protocol == "1.3" else None)
    exchange = client.reconnect()
    if protocol == "2.1":
        assert talk.envelopes(exchange)[0]["E"] == "This connection has ended."
        assert talk.is_over(exchange)
    else:
        assert talk.status(exchange) == 410
    assert talk.status(client.ask("start")) == 410
    assert len(talk.told(Disconnected)) == 1


def test_an_unknown_connection_that_was_aborted_stays_away() -> None:
    client = Client(Talk(epoch=1), LP).start()
    after = client.talk = Talk(epoch=2)
    assert after.status(client.ask("abort")) == 200
    assert "E" in after.json(client.poll())


def test_only_so_many_ended_connections_are_remembered() -> None:
    talk = Talk(Settings(ended_ids=1))
    clients = [Client(talk, LP).start() for _ in range(2)]
    for client in clients:
        client.ask("abort")
    assert talk.pieces[clients[0].poll()] == []  # adopted, held
    assert "E" in talk.json(clients[1].poll())


def test_cutting_a_transport_lets_the_client_come_back(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    talk.endpoint.close(client.id, talk.now, allow_reconnect=True)
    talk.endpoint.close(client.id, talk.now, allow_reconnect=True)
    talk.drain()
    assert client.exchange is not None
    assert talk.is_over(client.exchange)
    talk.broadcast("x")
    client.reconnect()
    assert client.take() == ["x"]


def test_draining_sends_everybody_away_to_come_back(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    away = Client(talk, transport).start()
    away.drop()
    talk.endpoint.drain(talk.now)
    talk.drain()
    assert client.exchange is not None
    assert talk.is_over(client.exchange)
    assert [event.reason for event in talk.told(Disconnected)] == [DisconnectReason.shutdown] * 2
    if transport == LP:
        assert talk.json(client.exchange)["T"] == 1
    exchange = client.reconnect()
    assert (talk.status(exchange), talk.header(exchange, "Retry-After")) == (503, "5")
    assert talk.status(talk.open("/echo/negotiate")) == 503


# Slow readers -----------------------------------------------------------------------------------


def test_a_reader_that_falls_out_of_the_ring_is_disconnected_as_slow() -> None:
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast(*range(60))
    talk.broadcast(*range(60))
    talk.sent(client.exchange)
    (event,) = talk.told(Disconnected)
    assert event.reason is DisconnectReason.slow
    talk.sent(client.exchange)
    assert "slow_policy" in talk.envelopes(client.exchange)[-1]["E"]
    assert talk.endpoint.statistics().reactions["slow_policy"] == 1


def test_a_reader_far_out_of_the_ring_is_told_without_a_number() -> None:
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, LP).start()
    talk.broadcast(0)
    client.take()
    talk.broadcast(*range(1000))
    client.poll()
    assert client.exchange is not None
    assert talk.json(client.exchange)["E"].startswith("Messages for this connection")


def test_a_slow_reader_may_go_on_after_the_gap() -> None:
    talk = Talk(Settings(ring_messages=32, slow_policy="skip"))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("first")
    talk.broadcast(*range(41))
    talk.sent(client.exchange)
    assert [event.missed for event in talk.events[1:]] == [8]  # type: ignore[attr-defined]
    assert client.take() == ["first", *range(8, 41)]


def test_a_burst_beyond_the_ring_before_anything_left_is_a_gap_too() -> None:
    talk = Talk(Settings(ring_messages=32, slow_policy="skip"))
    client = Client(talk, WS).start()
    talk.broadcast(*range(41))
    assert client.take() == list(range(9, 41))


def test_a_gap_before_the_start_is_nobodys_business() -> None:
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, WS)
    lost = client.attach("connect")
    talk.lost(lost)
    talk.broadcast(*range(41))
    client.attach("connect")
    assert client.take() == list(range(9, 41))
    assert talk.events == []


def test_a_transport_that_takes_nothing_is_cut_after_the_write_deadline() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("stuck")
    talk.pass_time(30)
    (event,) = talk.told(Disconnected)
    assert event.reason is DisconnectReason.slow
    assert [output for output in talk.outputs if "Abandon" in repr(output)]
    assert talk.endpoint.statistics().reactions == {"write_deadline": 1}


def test_a_busy_transport_that_moves_is_not_stuck() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    for second in range(60):
        talk.broadcast(second)
        talk.pass_time(1)
        talk.sent(client.exchange) if client.exchange.in_flight else None
        talk.broadcast("more")
    assert not talk.told(Disconnected)


def test_a_stuck_transport_may_stay_with_skip() -> None:
    talk = Talk(Settings(slow_policy="skip"))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("stuck")
    talk.pass_time(60)
    assert not talk.told(Disconnected)
    assert talk.endpoint.statistics().reactions["write_deadline"] >= 2


def test_a_sender_is_told_to_wait_and_when_to_go_on() -> None:
    talk = Talk(Settings(send_high_water=4))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    assert [talk.endpoint.send(client.id, Payload(n), talk.now) for n in range(5)] == [True] * 4 + [False]
    assert not [output for output in talk.drain() if isinstance(output, Drained)]
    talk.slow.clear()
    talk.sent(client.exchange)
    assert talk.outputs.count(Drained(client.id)) == 1
    assert client.take() == ["in flight", 0, 1, 2, 3, 4]


def test_bytes_make_a_sender_wait_too() -> None:
    talk = Talk(Settings(send_high_water_bytes=1000, batch_messages=1))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    kept_up = [talk.endpoint.send(client.id, Payload("x" * 300), talk.now) for _ in range(3)]
    assert kept_up == [True, True, False]
    talk.sent(client.exchange)
    talk.sent(client.exchange)
    assert talk.outputs.count(Drained(client.id)) == 1


def test_a_waiting_sender_learns_that_the_connection_has_gone() -> None:
    talk = Talk(Settings(send_high_water=1))
    client = Client(talk, WS).start()
    client.drop()
    for n in range(3):
        talk.endpoint.send(client.id, Payload(n), talk.now)
    talk.pass_time(40)
    assert talk.outputs.count(Drained(client.id)) == 1


# Messages of the client -------------------------------------------------------------------------


def test_events_of_a_connection_come_one_at_a_time() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    talk.automatic = False
    for text in "abc":
        client.send(text)
    assert [event.data for event in talk.told(Received)] == ["a"]
    talk.endpoint.complete(talk.events[-1], talk.now)
    talk.drain()
    assert [event.data for event in talk.told(Received)] == ["a", "b"]


def test_a_socket_whose_messages_pile_up_is_not_read_until_they_are_dealt_with() -> None:
    talk = Talk(Settings(inbox_messages=4))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.automatic = False
    for text in "abcde":
        client.send(text)
    assert client.exchange.paused
    for _ in range(3):
        talk.endpoint.complete(talk.events[-1], talk.now)
        talk.drain()
    assert not client.exchange.paused
    assert talk.outputs.count(Resume(client.exchange)) == 1


def test_who_proceeds_is_given_what_else_the_client_said_and_need_not_poll_for_it() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.automatic = False
    talk.endpoint.receive_all(client.exchange, "abc", talk.now)
    event = talk.endpoint.poll()
    said = []
    while event is not None:
        assert isinstance(event, Received)
        said.append(event.data)
        event = talk.endpoint.proceed(event, talk.now)
    assert said == ["a", "b", "c"]
    assert talk.drain() == []
    client.send("d")
    assert [event.data for event in talk.told(Received)] == ["d"]


def test_who_proceeds_polls_for_whatever_is_no_message() -> None:
    talk = Talk(Settings(ring_messages=32, slow_policy="skip"))
    client = Client(talk, WS).start()
    talk.automatic = False
    client.send("a")
    talk.broadcast(*range(41))
    client.send("b")
    for kind in (Received, Gap, Received):
        event = talk.events[-1]
        assert type(event) is kind
        if isinstance(event, Received):
            assert talk.endpoint.proceed(event, talk.now) is None
        else:
            talk.endpoint.complete(event, talk.now)
        talk.drain()


def test_who_proceeds_lets_a_socket_be_read_again() -> None:
    talk = Talk(Settings(inbox_messages=2))
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.automatic = False
    for text in "abc":
        client.send(text)
    assert client.exchange.paused
    event = talk.events[-1]
    assert isinstance(event, Received)
    assert talk.endpoint.proceed(event, talk.now + 0.5) is None  # while it is paused, the long way
    talk.drain()
    assert talk.outputs.count(Resume(client.exchange)) == 1
    assert [event.data for event in talk.told(Received)] == ["a", "b"]


def test_who_proceeds_answers_the_request_that_brought_the_message() -> None:
    talk = Talk()
    client = Client(talk, SSE).start()
    talk.automatic = False
    answer = client.send("x")
    event = talk.events[-1]
    assert isinstance(event, Received) and answer is not None
    assert talk.endpoint.proceed(event, talk.now) is None
    talk.drain()
    assert talk.status(answer) == 200
    with pytest.raises(LocalProtocolError, match="not in flight"):
        talk.endpoint.proceed(event, talk.now)


def test_a_post_too_many_is_refused_by_name() -> None:
    talk = Talk(Settings(inbox_messages=1))
    client = Client(talk, LP).start()
    talk.automatic = False
    answers = [client.send(text) for text in "abc"]
    assert answers[2] is not None
    assert talk.status(answers[2]) == 429
    assert b"inbox_messages" in talk.body(answers[2])


def test_a_failing_callback_fails_the_request_that_brought_the_message() -> None:
    talk = Talk()
    client = Client(talk, SSE).start()
    talk.automatic = False
    answer = client.send("x")
    talk.endpoint.complete(talk.events[-1], talk.now, error=ValueError("oops"))
    talk.drain()
    assert answer is not None
    assert (talk.status(answer), talk.body(answer)) == (500, b"")


def test_a_request_whose_client_left_needs_no_answer() -> None:
    talk = Talk()
    client = Client(talk, SSE).start()
    talk.automatic = False
    answer = client.send("x")
    assert answer is not None
    talk.lost(answer)
    talk.endpoint.complete(talk.events[-1], talk.now)
    talk.drain()
    assert talk.pieces[answer] == []


def test_a_keep_alive_of_the_client_is_no_message() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    client.send("{}")
    assert not talk.told(Received)


def test_a_keep_alive_beside_a_message_is_none_either() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.endpoint.receive_all(client.exchange, ("{}", "said"), talk.now)
    talk.drain()
    assert [event.data for event in talk.told(Received)] == ["said"]


def test_what_comes_on_an_ended_socket_is_dropped() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    older = client.exchange
    assert older is not None
    client.reconnect()
    talk.endpoint.receive(older, "late", talk.now)
    talk.drain()
    assert not talk.told(Received)


def test_binary_is_handed_on() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.endpoint.receive(client.exchange, b"\x00", talk.now)
    talk.drain()
    assert talk.told(Received)[0].data == b"\x00"


def test_a_reply_travels_outside_envelopes(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    talk.automatic = False
    answer = client.send('{"I":0}')
    event = talk.told(Received)[0]
    talk.endpoint.complete(event, talk.now, hold=True)
    talk.endpoint.send(client.id, Payload("before"), talk.now)
    talk.endpoint.reply(event, Payload({"I": "0"}), talk.now)
    talk.endpoint.reply(event, Payload({"I": "1"}), talk.now)
    talk.drain()
    if answer is None:
        assert client.exchange is not None
        replies = [p for p in talk.pieces[client.exchange] if isinstance(p, Message)][-3:]
        assert [json.loads(p.data).get("I") for p in replies] == [None, "0", "1"]
    else:
        assert talk.json(answer) == {"I": "0"}


def test_a_reply_leaves_with_the_end_or_not_at_all() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    client.send("x")
    event = talk.told(Received)[0]
    talk.slow.add(client.exchange)
    talk.broadcast("in flight")
    talk.endpoint.reply(event, Payload(1), talk.now)
    talk.endpoint.close(client.id, talk.now)
    talk.sent(client.exchange)
    assert [p.data for p in talk.pieces[client.exchange] if isinstance(p, Message)][-1] == b"1"
    talk.endpoint.reply(event, Payload(2), talk.now)
    assert talk.drain() == []


# Time -------------------------------------------------------------------------------------------


def test_signs_of_life_come_at_their_time_whatever_else_is_sent(transport: str) -> None:
    talk = Talk()
    client = Client(talk, transport).start()
    exchange = client.exchange
    assert exchange is not None
    before = len(talk.pieces[exchange])
    talk.pass_time(35)
    new = talk.pieces[exchange][before:]
    if transport == LP:
        assert talk.body(exchange) == b"   "
    else:
        assert [e for e in talk.envelopes(exchange) if e == {}] == [{}] * 3
        assert new.count(Ping()) == (1 if transport == WS else 0)  # half as often


def test_a_shared_sign_of_life_is_one_output() -> None:
    talk = Talk()
    clients = [Client(talk, SSE).start() for _ in range(3)]
    talk.pass_time(9)
    before = len(talk.outputs)
    talk.pass_time(2)
    (output,) = talk.outputs[before:]
    assert isinstance(output, Transmit)
    assert list(output.exchanges) == [client.exchange for client in clients]


def test_a_websocket_that_answers_no_ping_is_lost() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    exchange = client.exchange
    talk.mute = True
    talk.pass_time(45)
    assert [output for output in talk.outputs if "Abandon" in repr(output)]
    assert not talk.told(Disconnected)
    talk.pass_time(40)
    assert talk.told(Disconnected)[0].reason is DisconnectReason.timed_out
    assert exchange is not None
    assert talk.endpoint.statistics().reactions == {"ping": 1}


def test_a_websocket_whose_server_cannot_ping_is_left_alone() -> None:
    talk = Talk()
    client = Client(talk, WS)
    client.attach("connect", pings=False)
    client.ask("start")
    talk.pass_time(1000)
    assert not talk.told(Disconnected)


def test_a_poll_is_answered_empty_after_its_time() -> None:
    talk = Talk()
    client = Client(talk, LP).start()
    assert client.exchange is not None
    talk.pass_time(109)
    assert not talk.is_over(client.exchange)
    talk.pass_time(2)
    assert talk.json(client.exchange)["M"] == []
    assert not talk.told(Reconnected)


def test_without_signs_of_life_every_transport_has_an_end(transport: str) -> None:
    talk = Talk(Settings(keep_alive=None))
    client = Client(talk, transport).start()
    exchange = client.exchange
    assert exchange is not None
    talk.pass_time(109)
    assert not talk.is_over(exchange)
    talk.pass_time(2)
    assert talk.is_over(exchange)
    talk.broadcast("x")
    client.take()
    client.reconnect()
    assert client.take() == ["x"]


def test_a_poll_delay_is_told_to_pollers_only() -> None:
    talk = Talk(Settings(long_poll_delay=2))
    for transport, delay in ((LP, 2000), (SSE, None)):
        client = Client(talk, transport).start()
        talk.broadcast("x")
        assert client.exchange is not None
        assert talk.envelopes(client.exchange)[-1].get("L") == delay


def test_time_only_moves_forward() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    client.drop()
    until = talk.until
    talk.endpoint.tick(0.0)
    talk.endpoint.tick(talk.now)
    assert talk.endpoint.poll() == Wait(until)


def test_old_messages_are_forgotten_by_the_clock() -> None:
    talk = Talk()
    Client(talk, WS).start()
    talk.broadcast("x")
    assert talk.endpoint.statistics().rings.posts == 1
    for _ in range(20):
        talk.pass_time(10)
    assert talk.endpoint.statistics().rings.posts == 0


# Rules and settings -----------------------------------------------------------------------------


def test_sent_without_a_transmit_is_misuse_and_changes_nothing() -> None:
    talk = Talk()
    client = Client(talk, WS).start()
    assert client.exchange is not None
    with pytest.raises(LocalProtocolError, match="no Transmit in flight"):
        talk.endpoint.sent([client.exchange], talk.now)
    talk.broadcast("x")
    assert client.take() == ["x"]


def test_completing_twice_is_misuse() -> None:
    talk = Talk()
    Client(talk, WS).start()
    with pytest.raises(LocalProtocolError, match="not in flight"):
        talk.endpoint.complete(talk.events[0], talk.now)


def test_sent_after_an_end_is_optional() -> None:
    talk = Talk()
    exchange = talk.open("/echo/ping")
    talk.endpoint.sent([exchange], talk.now)
    talk.endpoint.sent([exchange], talk.now)


def test_a_lost_exchange_that_carries_nothing_is_nothing() -> None:
    talk = Talk()
    exchange = talk.open("/echo/ping")
    talk.lost(exchange)
    talk.lost(exchange)


@pytest.mark.parametrize("path", ["echo", "/echo/", "/a\nb"])
def test_a_route_must_be_a_path(path: str) -> None:
    with pytest.raises(ConfigurationError, match="path is"):
        Route(path)


def test_a_route_must_speak_something() -> None:
    with pytest.raises(ConfigurationError, match="dialects"):
        Route("/echo", frozenset({"klingon"}))


def test_two_routes_at_one_path_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="two connections"):
        ServerEndpoint([Route("/echo"), Route("/Echo")], secret_keys=[KEY], entropy=bytes)


def test_outputs_show_themselves() -> None:
    talk = Talk()
    exchange = talk.open("/echo/ping")
    assert repr(exchange) == "<Exchange GET /echo/ping ended>"
    assert repr(Transmit([], (End(),))) == "Transmit(exchanges=[], pieces=(End(code=1000, reason=''),))"
    assert Transmit([exchange], (Chunk(b""),)) != Head(200)
    assert Transmit([exchange], (Chunk(b""),)) == Transmit([exchange], (Chunk(b""),))
    assert str(DisconnectReason.closed) == "closed"
    client = Client(talk, WS)
    client.attach("connect", slow=True)
    assert repr(client.exchange) == "<Exchange GET /echo/connect in flight>"
    assert client.exchange is not None
    talk.sent(client.exchange)
    assert (repr(client.exchange), client.exchange.connection_id) == ("<Exchange GET /echo/connect open>", client.id)
    assert exchange.connection_id is None
    assert STREAMS
