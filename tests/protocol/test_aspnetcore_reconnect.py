"""What layers agree with ASP.NET Core clients: resuming after a lost socket, alarms, frames out of turn."""

from __future__ import annotations

from typing import Any

import pytest

from persistconn import Settings
from persistconn.bus.post import Payload
from persistconn.protocol import (
    RAW_BINARY,
    Abandon,
    Alarm,
    Connected,
    Disconnected,
    DisconnectReason,
    Drained,
    End,
    Message,
    Received,
    Reconnected,
)
from persistconn.wire.aspnetcore import UNKNOWN_ID

from .aspnetcore_talk import JSON, LP, PACKED, SSE, WS, CoreClient, CoreTalk, KeptFrames, statuses
from .talk import Client

UNKNOWN = (404, UNKNOWN_ID.encode())


@pytest.fixture
def talk() -> CoreTalk:
    return CoreTalk(Settings(allow_stateful_reconnect=True))


def resumable(talk: CoreTalk, replay: KeptFrames | None = None) -> tuple[CoreClient, KeptFrames]:
    client = CoreClient(talk, stateful=True).start(JSON)
    replay = replay or KeptFrames()
    talk.endpoint.terms.resume_with(client.id, replay, talk.now)
    talk.drain()
    return client, replay


def kinds(talk: CoreTalk) -> list[type[Any]]:
    return [type(event) for event in talk.events]


# Stateful reconnect -------------------------------------------------------------------------------


def test_a_new_socket_begins_with_what_may_be_lost(talk: CoreTalk) -> None:
    client, replay = resumable(talk)
    talk.slow.add(client.line)
    talk.say(client, b"one")
    talk.say(client, b"two")
    client.drop()
    assert (replay.frames, replay.losses) == ([b"one"], 1)
    talk.say(client, b"three")
    client.attach()
    talk.say(client, b"four")
    assert client.got == ["sequence", "one", "twothree", "four"]
    assert replay.frames == [b"one", b"two", b"three", b"four"]
    assert kinds(talk) == [Connected, Reconnected]
    (back,) = talk.told(Reconnected)
    assert (back.recovered, back.missed) == (True, 0)


def test_what_is_written_again_is_not_kept_by_its_socket(talk: CoreTalk) -> None:
    client, _ = resumable(talk)
    talk.say(client, b"one")
    client.drop()
    client.attach()
    assert client.line.first == ()


def test_frames_without_a_number_are_not_tracked(talk: CoreTalk) -> None:
    client, replay = resumable(talk)
    talk.say(client, Payload.of_frame(b"close", numbered=False), b"one")
    assert client.got == ["closeone"]
    assert replay.frames == [b"one"]


def test_the_newest_socket_wins(talk: CoreTalk) -> None:
    client, replay = resumable(talk)
    talk.say(client, b"one")
    older, newer = client.line, client.attach()
    assert talk.pieces[older][-1] == End()
    assert talk.units(newer) == ["sequence", "one"]
    talk.endpoint.receive(older, "too late", talk.now)
    client.say("hello")
    assert talk.heard == ["hello"]
    talk.lost(older)
    talk.say(client, b"two")
    assert (talk.units(newer), replay.losses) == (["sequence", "one", "two"], 0)


def test_an_older_socket_with_something_in_flight_may_be_lost(talk: CoreTalk) -> None:
    client, _ = resumable(talk)
    older = client.line
    talk.slow.add(older)
    talk.say(client, b"one")
    newer = client.attach()
    talk.lost(older)
    assert talk.endpoint.is_connected(client.id)
    talk.say(client, b"two")
    assert talk.units(newer) == ["sequence", "one", "two"]


def test_a_goodbye_ends_it(talk: CoreTalk) -> None:
    client, replay = resumable(talk)
    client.drop(graceful=True)
    assert (talk.reason, replay.losses) == (DisconnectReason.closed, 0)
    assert statuses(talk, [client.get()]) == [UNKNOWN]


def test_it_is_kept_for_disconnect_timeout(talk: CoreTalk) -> None:
    client, _ = resumable(talk)
    client.drop()
    talk.pass_time(34)
    assert talk.told(Disconnected) == []
    client.attach()
    talk.pass_time(100)
    client.drop()
    talk.pass_time(36)
    assert talk.reason is DisconnectReason.timed_out
    assert statuses(talk, [client.get()]) == [UNKNOWN]


def test_a_socket_that_takes_nothing_is_lost_and_not_the_connection(talk: CoreTalk) -> None:
    client, replay = resumable(talk)
    talk.slow.add(client.line)
    talk.say(client, b"one")
    talk.pass_time(25)
    assert Abandon(client.line) in talk.outputs
    assert (replay.losses, talk.told(Disconnected)) == (1, [])
    client.attach()
    assert client.got == ["sequence", "one"]


def test_without_a_replay_a_lost_socket_ends_it(talk: CoreTalk) -> None:
    client = CoreClient(talk, stateful=True).start()
    assert statuses(talk, [client.get()]) == [(409, b"")]
    client.drop()
    assert talk.reason is DisconnectReason.closed


def test_a_replay_is_for_websockets_that_negotiated_it(talk: CoreTalk) -> None:
    replay = KeptFrames()
    for client in (CoreClient(talk), CoreClient(talk, SSE, stateful=True), CoreClient(talk, LP, stateful=True)):
        client.start()
        assert not talk.endpoint.terms.is_resumable(client.id)
        talk.endpoint.terms.resume_with(client.id, replay, talk.now)
        talk.say(client, b"one")
        client.drop()
    talk.endpoint.terms.resume_with("nobody", replay, talk.now)
    assert (replay.frames, replay.losses) == ([], 0)


def test_it_waits_for_acknowledgements(talk: CoreTalk) -> None:
    client, replay = resumable(talk, KeptFrames(most=2))
    talk.say(client, b"one", b"two", b"three", Payload.of_frame(b"last", numbered=False))
    assert client.got == ["onetwo"]
    talk.endpoint.terms.interject(client.id, b"ack", talk.now)
    talk.drain()
    talk.pass_time(11)
    assert client.got == ["onetwo", "ack", '{"type":6}\x1e']
    replay.most = 3
    talk.endpoint.terms.go_on_sending(client.id, talk.now)
    talk.drain()
    assert client.got[3:] == ["threelast"]
    talk.endpoint.terms.go_on_sending("nobody", talk.now)


def test_senders_wait_with_it() -> None:
    talk = CoreTalk(Settings(allow_stateful_reconnect=True, send_high_water=2))
    client, replay = resumable(talk, KeptFrames(most=0))
    assert [talk.endpoint.send(client.id, Payload.of_frame(b"x"), talk.now) for _ in range(3)] == [True, True, False]
    talk.drain()
    assert Drained(client.id) not in talk.outputs
    replay.most = 10
    talk.endpoint.terms.go_on_sending(client.id, talk.now)
    talk.drain()
    assert Drained(client.id) in talk.outputs
    assert client.got == ["xxx"]


def test_broadcasts_are_numbered_for_each(talk: CoreTalk) -> None:
    (one, kept), (two, kept_too) = resumable(talk), resumable(talk)
    plain = CoreClient(talk).start(JSON)
    assert len(talk.publish(Payload("x"))) == 3
    assert kept.frames == kept_too.frames == [b'"x"']
    assert one.got == two.got == plain.got == ['"x"']


def test_the_end_hands_out_all_there_is(talk: CoreTalk) -> None:
    client, _ = resumable(talk, KeptFrames(most=1))
    talk.say(client, b"one", b"two", Payload.of_frame(b"close", numbered=False))
    talk.close(client)
    assert client.got == ["one", "twoclose"]
    assert talk.pieces[client.line][-1] == End()


def test_an_end_while_nobody_is_there(talk: CoreTalk) -> None:
    client, _ = resumable(talk)
    client.drop()
    talk.shut_down()
    assert talk.reason is DisconnectReason.shutdown
    assert statuses(talk, [client.get()]) == [UNKNOWN]


def test_what_a_client_said_before_its_socket_was_lost_is_dealt_with(talk: CoreTalk) -> None:
    client, _ = resumable(talk)
    talk.automatic = False
    client.say("one", "two")
    client.drop()
    client.attach()
    client.say("three")
    heard: list[Any] = []
    while talk.events:
        event = talk.events[-1]
        heard.append(event.data if isinstance(event, Received) else type(event))
        talk.events = [event]
        talk.finish(client)
    assert heard == ["one", "two", Reconnected, "three"]


# Frames out of turn -------------------------------------------------------------------------------


def test_frames_out_of_turn_are_for_websockets(talk: CoreTalk) -> None:
    terms = talk.endpoint.terms
    socket, binary, events = CoreClient(talk).start(), CoreClient(talk).start(PACKED), CoreClient(talk, SSE).start()
    gone = CoreClient(talk, stateful=True)
    for client in (socket, binary, events, gone):
        terms.interject(client.id, b"ack", talk.now)
    terms.interject("nobody", b"ack", talk.now)
    talk.drain()
    assert (socket.got, binary.got, events.got) == (["ack"], [b"ack"], [])
    assert Message(b"ack") in talk.pieces[binary.line]
    gone.start()
    assert gone.got == []


# Terms in general ---------------------------------------------------------------------------------


def test_formats_are_for_those_who_have_one(talk: CoreTalk) -> None:
    core, classic = CoreClient(talk).start(), Client(talk).start()
    new = CoreClient(talk)
    for id in (core.id, classic.id, new.id, "nobody"):
        talk.endpoint.terms.speak(id, RAW_BINARY, talk.now)
    formats = [talk.endpoint.terms.format_of(id) for id in (core.id, new.id, classic.id, "nobody")]
    assert formats == [RAW_BINARY, RAW_BINARY, None, None]
    new.start()
    talk.broadcast("x")
    assert (core.got, new.got, classic.take()) == ([b"x"], [b"x"], ["x"])


@pytest.mark.parametrize("transport", [WS, SSE, LP])
def test_an_alarm_comes_once_and_in_turn(talk: CoreTalk, transport: str) -> None:
    client = CoreClient(talk, transport).start()
    terms = talk.endpoint.terms
    terms.alarm(client.id, talk.now + 1, talk.now)
    terms.alarm(client.id, talk.now + 5, talk.now)
    terms.alarm("nobody", talk.now + 5, talk.now)
    talk.drain()
    talk.pass_time(4)
    assert talk.told(Alarm) == []
    talk.events.clear()
    talk.automatic = False
    client.say("first")
    talk.pass_time(4)
    assert talk.told(Alarm) == []
    talk.finish(client)
    assert [event.connection_id for event in talk.told(Alarm)] == [client.id]
    talk.finish(client)
    talk.automatic = True
    terms.alarm(client.id, talk.now + 1, talk.now)
    terms.alarm(client.id, None, talk.now)
    talk.drain()
    talk.pass_time(20)
    terms.alarm(client.id, talk.now + 1, talk.now)
    client.leave()
    talk.pass_time(20)
    assert talk.told(Alarm) == []


def test_limits_that_others_look_after_are_counted(talk: CoreTalk) -> None:
    talk.endpoint.terms.react("max_call_rate")
    assert talk.endpoint.statistics().reactions == {"max_call_rate": 1}


def test_a_reply_is_one_more_message(talk: CoreTalk) -> None:
    talk = CoreTalk(Settings(send_high_water=1))
    for transport in (WS, SSE):
        client = CoreClient(talk, transport).start()
        client.say("question")
        message = talk.told(Received)[-1]
        assert talk.endpoint.reply(message, Payload("answer"), talk.now)
        assert talk.endpoint.reply(message, ValueError(), talk.now) is True  # type: ignore[arg-type]
        talk.drain()
        assert client.got == ["answer"]
        talk.slow.add(client.line)
        assert [talk.endpoint.reply(message, Payload("x"), talk.now) for _ in range(3)] == [True, False, False]
        client.leave()
        talk.drain()
        assert talk.endpoint.reply(message, Payload("late"), talk.now)


def test_a_message_of_a_request_may_be_answered_by_proceeding(talk: CoreTalk) -> None:
    talk.automatic = False
    client = CoreClient(talk, SSE).start()
    talk.finish(client)
    (post,) = client.say("one")
    (message,) = talk.told(Received)
    assert talk.endpoint.proceed(message, talk.now) is None
    assert statuses(talk, [post]) == [(200, b"")]
