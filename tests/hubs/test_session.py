"""Conversations on the hub protocol: what comes in, at which time, and what has to be done then."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from persistconn import DisconnectReason, LocalProtocolError, Settings
from persistconn.hubs.aspnetcore_json import JsonProtocol
from persistconn.hubs.aspnetcore_messagepack import MessagePackProtocol
from persistconn.hubs.messages import Cancel, Completion, HubProtocol, Invocation, StreamItem
from persistconn.hubs.session import HubSession
from persistconn.hubs.stages import (
    STAGES,
    TIMERS,
    Agreed,
    Begin,
    Finish,
    Interject,
    MayGoOn,
    Output,
    Stage,
    StageInput,
    Timer,
    Transmit,
    UploadEnd,
)

JSON, MESSAGEPACK = JsonProtocol(), MessagePackProtocol()
BROKEN = '{"type":7,"error":"Connection closed with an error.","allowReconnect":true}'


class Talk:
    """A client's side of a conversation, and the clock. Messages are JSON; RS is left out."""

    def __init__(
        self, *, shake: int | None = 1, limit: int | None = 32_768, detailed: bool = False, **how: Any
    ) -> None:
        self.now = 100.0
        rules = Settings(max_message_size=limit, detailed_errors=detailed)
        self.session = HubSession([JSON, MESSAGEPACK], rules, self.now, **how)
        if shake is not None:
            outputs = self.say(f'{{"protocol":"json","version":{shake}}}')
            assert outputs[1:] == ["{}", Begin()]

    def say(self, *texts: str) -> list[Any]:
        return self.say_bytes("".join(text + "\x1e" for text in texts).encode())

    def say_bytes(self, data: bytes | str) -> list[Any]:
        outputs = self.session.receive(data, self.now)
        self.session.dispatched(self.now)
        return readable(outputs)

    def sleep(self, seconds: float) -> list[Any]:
        """Let time go by, as one who sleeps until the deadline would."""
        until, done = self.now + seconds, []
        while self.session.deadline is not None and self.session.deadline <= until:
            self.now = self.session.deadline
            done += readable(self.session.tick(self.now))
        self.now = until
        assert self.session.tick(until) == []
        return done


def readable(outputs: list[Output]) -> list[Any]:
    """Frames without RS, in place of what transmits them."""
    shown: list[Any] = []
    for output in outputs:
        if isinstance(output, Transmit):
            shown += [frame.decode().removesuffix("\x1e") for frame in output.frames]
        elif isinstance(output, Interject):
            shown.append(output.frame.decode().removesuffix("\x1e"))
        else:
            shown.append(output)
    return shown


def finish(reason: DisconnectReason, error: str | None = None, *, connected: bool = True) -> Finish:
    return Finish(reason, error, connected)


CLOSED, ABORTED, TIMED_OUT = DisconnectReason.closed, DisconnectReason.aborted, DisconnectReason.timed_out


# The handshake ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [-1, 0, 1, 2])
@pytest.mark.parametrize(("name", "protocol"), [("json", JSON), ("JSON", JSON), ("MessagePack", MESSAGEPACK)])
def test_a_client_says_what_it_speaks(name: str, protocol: HubProtocol, version: int) -> None:
    talk = Talk(shake=None)
    request = f'{{"more":[1],"version":{version},"protocol":"{name}"}}'
    assert talk.say(request) == [Agreed(protocol, False), "{}", Begin()]
    assert talk.session.protocol is protocol


def test_the_handshake_may_come_in_pieces_with_messages_behind_it() -> None:
    stream = b'{"protocol":"messagepack","version":1}\x1e' + MESSAGEPACK.invocation("Hi", []) + MESSAGEPACK.ping()
    for cut in range(len(stream) + 1):
        talk = Talk(shake=None)
        outputs = talk.say_bytes(stream[:cut]) + talk.say_bytes(stream[cut:])
        assert outputs == [Agreed(MESSAGEPACK, False), "{}", Begin(), Invocation("Hi", [])]


def test_text_is_as_good_as_bytes() -> None:
    talk = Talk(shake=None)
    assert talk.say_bytes('{"protocol":"json","version":1}\x1e{"type":1,"target":"\u00e9","arguments":[]}\x1e')[-1] == (
        Invocation("é", [])
    )
    assert talk.say_bytes('{"type":1,"target":"\ud83d","arguments":[]}\x1e')[0] == BROKEN


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ('{"protocol":"foo","version":1}', "The protocol 'foo' is not supported."),
        ('{"protocol":"json","version":9}', "The server does not support version 9 of the 'json' protocol."),
        ("{}", "An unexpected error occurred during connection handshake."),
        ('{"protocol":"json"}', "An unexpected error occurred during connection handshake."),
        ('{"protocol":"json","version":null}', "An unexpected error occurred during connection handshake."),
        ('{"protocol":"json","version":"1"}', "An unexpected error occurred during connection handshake."),
        ('{"protocol":5,"version":1}', "An unexpected error occurred during connection handshake."),
        ("[]", "An unexpected error occurred during connection handshake."),
        ("", "An unexpected error occurred during connection handshake."),
        (
            '{"protocol":"json","version":%s}' % ("9" * 5000),
            "An unexpected error occurred during connection handshake.",
        ),
        ("[" * 30_000, "An unexpected error occurred during connection handshake."),
    ],
)
def test_a_handshake_that_fails(request_: str, error: str) -> None:
    talk = Talk(shake=None)
    refused = [f'{{"error":"{error}"}}', finish(ABORTED, error, connected=False)]
    assert talk.say(request_, '{"type":6}') == refused
    assert talk.session.deadline is None


def test_details_of_a_handshake_that_fails() -> None:
    (answer, _) = Talk(shake=None, detailed=True).say("{}")
    assert answer.startswith(
        '{"error":"An unexpected error occurred during connection handshake. InvalidDataException: Object missing'
    )


def test_messagepack_needs_a_transport_that_carries_binary() -> None:
    answer, end = Talk(shake=None, binary=False).say('{"protocol":"messagepack","version":1}')
    assert answer == (
        '{"error":"Cannot use the \'messagepack\' protocol on the current transport. '
        "The transport does not support 'Binary' transfer format.\"}"
    )
    assert isinstance(end, Finish) and not end.connected
    assert Talk(shake=None, binary=False).say('{"protocol":"json","version":1}')[-1] == Begin()


CANCELED = ['{"error":"Handshake was canceled."}', finish(ABORTED, "Handshake was canceled.", connected=False)]


def test_a_handshake_comes_in_time() -> None:
    talk = Talk(shake=None)
    assert talk.session.deadline == 115.0
    assert talk.sleep(14.9) == []
    assert talk.sleep(0.2) == CANCELED
    assert talk.say('{"protocol":"json","version":1}') == []


def test_a_handshake_is_no_larger_than_a_message_may_be() -> None:
    request = '{"protocol":"json","version":1}'
    assert Talk(shake=None, limit=len(request) + 1).say(request)[-1] == Begin()
    assert Talk(shake=None, limit=len(request)).say(request) == CANCELED
    assert Talk(shake=None, limit=10).say_bytes(b"0123456789") == CANCELED
    assert Talk(shake=None, limit=10).say_bytes(b"012345678") == []
    assert Talk(shake=None, limit=None).say(request.ljust(99_999))[-1] == Begin()


def test_a_client_that_goes_before_its_handshake_was_never_here() -> None:
    for graceful in (True, False):
        talk = Talk(shake=None, resumable=True)
        talk.say_bytes(b'{"protocol":')
        assert readable(talk.session.ended(graceful=graceful)) == [finish(CLOSED, connected=False)]
    talk = Talk(shake=None)
    assert readable(talk.session.close()) == [finish(ABORTED, connected=False)]


# Messages ---------------------------------------------------------------------------------------


def test_a_call_and_its_answer() -> None:
    talk = Talk()
    (call,) = talk.say('{"type":1,"invocationId":"0","target":"Multiply","arguments":[6,7]}')
    assert (call.target, call.id, [bytes(one) for one in call.arguments]) == ("Multiply", "0", [b"6", b"7"])
    assert talk.session.track(JSON.completion("0", result=42))


def test_a_stream_is_cancelled_and_its_id_used_again() -> None:
    talk = Talk()
    ticks = '{"type":4,"invocationId":"1","target":"Ticks","arguments":[]}'
    assert talk.say(ticks, '{"type":5,"invocationId":"1"}') == [
        Invocation("Ticks", [], "1", is_stream=True),
        Cancel("1"),
    ]
    assert talk.say(ticks) == ['{"type":3,"invocationId":"1","error":"Invocation ID \'1\' is already in use."}']
    talk.session.ids.end_stream("1")
    assert talk.say('{"type":5,"invocationId":"1"}', ticks) == [Invocation("Ticks", [], "1", is_stream=True)]


def test_an_upload() -> None:
    talk = Talk()
    call = '{"type":1,"invocationId":"3","target":"Ingest","arguments":[],"streamIds":["2"]}'
    item, end = '{"type":2,"invocationId":"2","item":20.5}', '{"type":3,"invocationId":"2","error":"Something bad"}'
    assert talk.say(item, call, item, end, item, end) == [
        Invocation("Ingest", [], "3", ("2",)),
        StreamItem("2", Raw(b"20.5")),
        UploadEnd("2", "Something bad"),
    ]


def test_a_result_of_the_client() -> None:
    talk = Talk()
    id = talk.session.ids.expect_result()
    answer = '{"type":3,"invocationId":"%s","result":5}'
    assert talk.say(answer % "s2", answer % id, answer % id) == [Completion("s1", Raw(b"5"))]
    assert Completion("s1", Raw(b"5")).error is None and Completion("s1").result is UNSET


def test_an_unknown_message_is_skipped_and_the_next_one_is_not() -> None:
    assert Talk().say('{"type":42}', '{"type":1,"target":"A","arguments":[]}') == [Invocation("A", [])]


def test_sequence_numbers_mean_nothing_without_stateful_reconnect() -> None:
    assert Talk().say('{"type":8,"sequenceId":5}', '{"type":9,"sequenceId":99}') == []


def test_the_client_says_goodbye() -> None:
    for farewell, error in (('{"type":7}', None), ('{"type":7,"error":"out of memory"}', "out of memory")):
        talk = Talk()
        assert talk.say(
            '{"type":1,"target":"A","arguments":[]}', farewell, '{"type":1,"target":"B","arguments":[]}'
        ) == [
            Invocation("A", []),
            '{"type":7}',
            finish(CLOSED, error),
        ]
        assert talk.session.is_over and not talk.session.track(b"late")
        assert talk.say('{"type":6}') == [] == talk.sleep(100)


def test_the_client_breaks_the_protocol() -> None:
    why = "Missing required property 'target'."
    assert Talk().say('{"type":1,"target":"A","arguments":[]}', '{"type":1}', '{"type":6}') == [
        Invocation("A", []),
        BROKEN,
        finish(ABORTED, why),
    ]
    (told, _) = Talk(detailed=True).say('{"type":1}')
    assert told == BROKEN.replace("error.", f"error. InvalidDataException: {why}")


def test_a_message_that_is_too_large_comes_after_those_before_it() -> None:
    talk = Talk(limit=60)
    small = '{"type":1,"target":"A","arguments":[]}'
    why = "The maximum message size of 60B was exceeded. The message size can be configured in AddHubOptions."
    assert talk.say_bytes(f"{small}\x1e{small}\x1e".encode() + b"x" * 60) == [
        Invocation("A", []),
        Invocation("A", []),
        BROKEN,
        finish(ABORTED, why),
    ]


def test_the_connection_ends_from_outside() -> None:
    assert readable(Talk().session.ended(graceful=True)) == ['{"type":7,"allowReconnect":true}', finish(CLOSED)]
    assert readable(Talk().session.ended(graceful=False)) == [finish(CLOSED)]
    talk = Talk()
    talk.say_bytes(b'{"type":')
    assert readable(talk.session.ended(graceful=True)) == [
        BROKEN,
        finish(ABORTED, "Connection terminated while reading a message."),
    ]


def test_we_end_the_connection() -> None:
    assert readable(Talk().session.close()) == ['{"type":7}', finish(ABORTED)]
    assert readable(Talk().session.close("Oops.")) == ['{"type":7,"error":"Oops."}', finish(ABORTED)]
    talk = Talk()
    outputs = talk.session.close(allow_reconnect=True, reason=DisconnectReason.shutdown)
    assert readable(outputs) == ['{"type":7,"allowReconnect":true}', finish(DisconnectReason.shutdown)]
    assert talk.session.close() == [] == talk.session.ended(graceful=True)


# Time -------------------------------------------------------------------------------------------

PING = '{"type":6}'


def test_silence_counts_once_the_client_has_given_a_sign_of_life() -> None:
    talk = Talk()
    talk.say('{"type":1,"target":"A","arguments":[]}')
    assert talk.sleep(1000) == []
    talk.say(PING)
    assert talk.sleep(29) == []
    talk.say('{"type":1,"target":"A","arguments":[]}')
    assert talk.sleep(29) == []
    why = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
    assert talk.sleep(2) == [BROKEN, finish(TIMED_OUT, why)]


def test_silence_does_not_count_while_a_message_is_dealt_with() -> None:
    talk = Talk()
    talk.say(PING)
    session = talk.session
    session.receive('{"type":1,"target":"Slow","arguments":[]}\x1e', talk.now)
    session.receive(PING + "\x1e", talk.now)
    assert session.deadline is None
    assert talk.sleep(100) == []
    session.dispatched(talk.now)
    assert session.deadline is None  # there were two
    session.dispatched(talk.now)
    assert session.deadline == talk.now + 30


def test_a_late_tick_does_one_thing_only_after_the_end() -> None:
    talk = Talk(shake=2, resumable=True)
    talk.say(PING, '{"type":1,"target":"A","arguments":[]}')
    outputs = readable(talk.session.tick(talk.now + 1000))
    assert outputs[-2:] == [BROKEN, outputs[-1]] and isinstance(outputs[-1], Finish)
    assert talk.session.deadline is None


def test_nothing_is_left_to_do_after_the_end_of_a_late_tick() -> None:
    talk = Talk(shake=2, resumable=True)
    talk.say(PING)
    talk.session.due = {Timer.CLIENT: 0.0, Timer.ACK: 0.0}  # in this order
    assert readable(talk.session.tick(talk.now))[0] == BROKEN
    assert talk.session.is_over


# Misuse -----------------------------------------------------------------------------------------


def test_misuse_is_an_error_of_ours() -> None:
    talk = Talk(shake=None, resumable=True)
    with pytest.raises(LocalProtocolError, match="precede"):
        talk.session.track(b"early")
    with pytest.raises(LocalProtocolError, match="without a receive"):
        talk.session.dispatched(talk.now)
    with pytest.raises(LocalProtocolError, match="cannot be resumed"):
        talk.session.resume(talk.now)
    with pytest.raises(LocalProtocolError, match="cannot be resumed"):
        Talk().session.resume(0.0)


# Stateful reconnect -----------------------------------------------------------------------------


def stateful(**how: Any) -> Talk:
    return Talk(shake=2, resumable=True, **how)


def tick_frame(number: int) -> bytes:
    return JSON.invocation("tick", [number])


def shown(number: int) -> str:
    return f'{{"type":1,"target":"tick","arguments":[{number}]}}'


CALL = '{"type":1,"target":"A","arguments":[]}'


def test_stateful_reconnect_as_in_the_book() -> None:
    talk = Talk(shake=None, resumable=True)
    assert talk.say('{"protocol":"json","version":2}') == [Agreed(JSON, True), "{}", Begin()]
    assert talk.say(CALL) == [Invocation("A", [])]
    assert talk.session.track(tick_frame(1))
    assert talk.sleep(1.0) == ['{"type":8,"sequenceId":1}']
    talk.say('{"type":8,"sequenceId":1}')
    assert talk.session.track(tick_frame(2))
    assert talk.session.ended(graceful=False) == []
    assert talk.session.stage is Stage.AWAY and talk.session.may_resume
    assert not talk.session.track(tick_frame(3))  # it waits for the new socket
    outputs = talk.session.resume(talk.now)
    assert readable(outputs) == ['{"type":9,"sequenceId":2}', shown(2), shown(3)]
    assert talk.say('{"type":9,"sequenceId":1}', CALL, CALL) == [Invocation("A", [])]  # the first came before
    assert talk.sleep(1.0) == ['{"type":8,"sequenceId":2}']
    talk.say('{"type":8,"sequenceId":3}')
    assert readable(talk.session.resume(talk.now)) == ['{"type":9,"sequenceId":4}']


@pytest.mark.parametrize("version", [0, 1])
def test_an_older_version_switches_it_off(version: int) -> None:
    talk = Talk(shake=version, resumable=True)
    assert not talk.session.may_resume
    talk.session.track(tick_frame(1))
    assert (talk.session.buffered, talk.session.must_wait) == (0, False)
    assert readable(talk.session.ended(graceful=False)) == [finish(CLOSED)]


def test_a_goodbye_leaves_nothing_to_resume() -> None:
    for end in (lambda talk: talk.say('{"type":7}'), lambda talk: talk.session.ended(graceful=True)):
        talk = stateful()
        talk.session.track(tick_frame(1))
        assert isinstance(end(talk)[-1], Finish)
        assert not talk.session.may_resume
        assert (talk.session.buffered, talk.session.must_wait) == (0, False)


def test_senders_wait_for_acks() -> None:
    talk = stateful(replay_bytes=100)
    frame = tick_frame(1)
    sent = 0
    while not talk.session.must_wait:
        assert talk.session.track(frame)
        sent += 1
    assert talk.session.buffered == sent * len(frame) > 100 >= (sent - 1) * len(frame)
    assert talk.session.track(frame)  # who cannot wait need not
    assert talk.say('{"type":8,"sequenceId":1}') == []
    assert talk.say('{"type":8,"sequenceId":2}') == [MayGoOn()]
    assert talk.say('{"type":8,"sequenceId":999}') == []
    assert talk.session.buffered == 0


def test_pings_and_acks_pass_those_who_wait_and_are_not_counted() -> None:
    talk = Talk(shake=2, resumable=True, replay_bytes=10)
    talk.session.track(tick_frame(1))
    assert talk.session.must_wait
    assert talk.say(PING, PING, CALL) == [Invocation("A", [])]
    assert talk.sleep(15) == ['{"type":8,"sequenceId":1}']


def test_a_number_ahead_of_what_has_come_is_the_end() -> None:
    talk = stateful()
    talk.say(CALL)
    assert talk.say('{"type":9,"sequenceId":2}', CALL) == [Invocation("A", [])]
    why = "Sequence ID greater than amount of messages we've received."
    assert talk.say('{"type":9,"sequenceId":4}') == [BROKEN, finish(ABORTED, why)]


def test_a_second_cut_while_messages_are_repeated_loses_nothing() -> None:
    talk = stateful()
    talk.say(CALL)
    talk.session.resume(talk.now)
    talk.say('{"type":9,"sequenceId":1}')  # and cut again before the call is repeated; its Ack has arrived
    talk.session.resume(talk.now)
    assert talk.say('{"type":9,"sequenceId":2}', CALL) == [Invocation("A", [])]


def test_messages_that_are_dropped_or_refused_are_counted() -> None:
    talk = stateful()
    item, ticks = '{"type":2,"invocationId":"9","item":1}', '{"type":4,"invocationId":"1","target":"T","arguments":[]}'
    assert talk.say(item, '{"type":5,"invocationId":"9"}', '{"type":3,"invocationId":"9"}', ticks)[:-1] == []
    (refusal,) = talk.session.receive(ticks + "\x1e", talk.now)
    assert isinstance(refusal, Transmit) and refusal.numbered  # that answer is counted, too
    assert refusal.frames == (b'{"type":3,"invocationId":"1","error":"Invocation ID \'1\' is already in use."}\x1e',)
    assert talk.sleep(1) == ['{"type":8,"sequenceId":5}']


def test_half_a_message_is_forgotten_with_its_socket() -> None:
    for loses in (True, False):
        talk = stateful()
        talk.say_bytes(CALL[:20].encode())
        if loses:
            talk.session.ended(graceful=False)
        talk.session.resume(talk.now)
        assert talk.say(CALL) == [Invocation("A", [])]


def test_an_ack_that_was_lost_is_said_again() -> None:
    talk = stateful()
    talk.say(CALL)
    assert talk.sleep(1) == ['{"type":8,"sequenceId":1}']  # and lost
    talk.session.ended(graceful=False)
    talk.session.resume(talk.now)
    assert talk.say('{"type":9,"sequenceId":1}', CALL) == []
    assert talk.sleep(1) == ['{"type":8,"sequenceId":1}']


def test_what_is_owed_waits_for_the_new_socket() -> None:
    talk = Talk(shake=2, resumable=True)
    talk.say(CALL)
    talk.session.ended(graceful=False)
    assert talk.session.deadline is None
    assert talk.sleep(20) == []
    talk.session.resume(talk.now)
    assert talk.sleep(15) == ['{"type":8,"sequenceId":1}']


def test_nobody_hears_what_old_sockets_say_while_the_client_is_away() -> None:
    talk = stateful()
    talk.session.ended(graceful=False)
    assert talk.say(CALL) == [] == talk.session.ended(graceful=False)


def test_a_client_may_be_away_for_too_long() -> None:
    talk = stateful()
    talk.say(PING)
    talk.session.ended(graceful=False)
    (end,) = talk.sleep(31)
    assert (end.reason, end.connected) == (TIMED_OUT, True)
    talk = stateful()
    talk.session.ended(graceful=False)
    assert readable(talk.session.close(reason=TIMED_OUT)) == [finish(TIMED_OUT)]


# Every state, every input -----------------------------------------------------------------------


def in_stage(stage: Stage) -> Talk:
    talk = Talk(shake=None if stage is Stage.HANDSHAKE else 2, resumable=True)
    if stage is Stage.AWAY:
        talk.session.ended(graceful=False)
    if stage is Stage.OVER:
        talk.session.close()
    assert talk.session.stage is stage
    return talk


def lost(session: HubSession) -> list[Output]:
    return session.ended(graceful=False)


def resumed(session: HubSession) -> list[Output]:
    return session.resume(100.0) if session.may_resume else []


INPUTS: dict[str, tuple[Any, dict[Stage, Stage]]] = {
    "a handshake": (
        lambda session: session.receive('{"protocol":"json","version":2}\x1e', 100.0),
        # once it is open, this is a message without a type
        {Stage.HANDSHAKE: Stage.OPEN, Stage.OPEN: Stage.OVER},
    ),
    "garbage": (
        lambda session: session.receive("?\x1e", 100.0),
        {Stage.HANDSHAKE: Stage.OVER, Stage.OPEN: Stage.OVER},
    ),
    "half a message": (lambda session: session.receive("{", 100.0), {}),
    "lost": (lost, {Stage.HANDSHAKE: Stage.OVER, Stage.OPEN: Stage.AWAY}),
    "ended": (lambda session: session.ended(graceful=True), {Stage.HANDSHAKE: Stage.OVER, Stage.OPEN: Stage.OVER}),
    "resumed": (resumed, {Stage.AWAY: Stage.OPEN}),
    "closed": (lambda session: session.close(), dict.fromkeys(Stage, Stage.OVER)),
    "early": (lambda session: session.tick(100.0), {}),
    "late": (lambda session: session.tick(1000.0), {Stage.HANDSHAKE: Stage.OVER}),
}


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("what", INPUTS)
def test_every_stage_and_every_input(stage: Stage, what: str) -> None:
    act, moves = INPUTS[what]
    session = in_stage(stage).session
    outputs = act(session)
    assert session.stage is moves.get(stage, stage)
    assert any(isinstance(output, Finish) for output in outputs) == (session.is_over and stage is not Stage.OVER)
    assert set(session.due) <= set(TIMERS[session.stage])
    if stage is Stage.OVER:
        assert outputs == []


def test_the_tables_are_complete() -> None:
    assert set(TIMERS) == set(Stage)
    assert {stage for stage, _ in STAGES} == set(Stage) - {Stage.OVER}
    assert all((stage, StageInput.END) in STAGES for stage in Stage if stage is not Stage.OVER)


@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b"\x1e", b'{"type":6}\x1e', b'{"protocol":"json","version":2}\x1e'])
    )
)
def test_whatever_a_client_says_nothing_is_raised(pieces: list[bytes]) -> None:
    talk = Talk(shake=None, resumable=True)
    for piece in pieces:
        talk.say_bytes(piece)
        talk.sleep(0.4)


# Cuts at random places --------------------------------------------------------------------------


class Peer:
    """A client with stateful reconnect, written down from the protocol: it shares no code with the session."""

    def __init__(self, protocol: HubProtocol) -> None:
        self.protocol = protocol
        self.heard: list[int] = []
        self.unacknowledged: dict[int, bytes] = {}
        self.said = self.came = 0
        self.next = 1
        self.deaf = False
        self.buffer = b""

    def say(self) -> bytes:
        self.said += 1
        frame = self.protocol.invocation("said", [self.said])
        self.unacknowledged[self.said] = frame
        return frame

    def come_back(self) -> bytes:
        self.deaf, self.buffer = True, b""
        first = min(self.unacknowledged, default=self.said + 1)
        return self.protocol.sequence(first) + b"".join(self.unacknowledged.values())

    def hear(self, data: bytes) -> bytes:
        answer = b""
        records, rest = self.protocol.split(self.buffer + data, None)
        self.buffer = bytes(rest)
        for record in records:
            message = self.protocol.read(record)
            kind = type(message).__name__
            number = getattr(message, "sequence", 0)
            if kind == "Sequence":
                assert number <= self.came + 1
                self.next, self.deaf = number, False
            elif self.deaf or kind == "Ping":
                pass
            elif kind == "Ack":
                self.unacknowledged = {key: one for key, one in self.unacknowledged.items() if key > number}
            else:
                assert isinstance(message, Invocation)
                if self.next > self.came:
                    self.came = self.next
                    self.heard.append(value_of(self.protocol, message))
                answer += self.protocol.ack(self.came)  # also of what came before: the last one was lost
                self.next += 1
        return answer


def value_of(protocol: HubProtocol, call: Invocation) -> int:
    (raw,) = call.arguments
    value: int = (msgspec.json if protocol.format == "text" else msgspec.msgpack).decode(raw)
    return value


class Line:
    """The session and the client, and between them a line that is cut now and then."""

    def __init__(self, protocol: HubProtocol) -> None:
        self.now = 0.0
        self.session = HubSession([protocol], Settings(), 0.0, resumable=True)
        self.peer = Peer(protocol)
        self.heard: list[int] = []
        self.up, self.down = b'{"protocol":"%s","version":2}\x1e' % protocol.name.encode(), b""
        self.said = 0
        self.carry_up(len(self.up))
        self.down = b""

    def carry_out(self, outputs: list[Output]) -> None:
        for output in outputs:
            assert not isinstance(output, Finish)
            if isinstance(output, Transmit):
                self.down += b"".join(output.frames)
            elif isinstance(output, Interject):
                self.down += output.frame
            elif isinstance(output, Invocation):
                self.heard.append(value_of(self.session.protocol, output))

    def carry_up(self, count: int) -> None:
        data, self.up = self.up[:count], self.up[count:]
        self.carry_out(self.session.receive(data, self.now))
        self.session.dispatched(self.now)

    def carry_down(self, count: int) -> None:
        data, self.down = self.down[:count], self.down[count:]
        self.up += self.peer.hear(data)

    def say_down(self, count: int) -> None:
        for _ in range(count):
            self.said += 1
            frame = self.session.protocol.invocation("said", [self.said])
            if self.session.track(frame):
                self.down += frame

    def say_up(self, count: int) -> None:
        for _ in range(count):
            self.up += self.peer.say()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.session.tick(self.now))

    def cut(self, noticed: bool, meanwhile: int = 0) -> None:
        self.up = self.down = b""
        if noticed:
            self.carry_out(self.session.ended(graceful=False))
        self.say_down(meanwhile)
        assert self.down == b"" or not noticed
        self.up, self.down = self.peer.come_back(), b""
        self.carry_out(self.session.resume(self.now))

    def settle(self) -> None:
        for _ in range(3):
            self.carry_up(len(self.up))
            self.carry_down(len(self.down))
            self.wait(1.0)


STEPS = st.one_of(
    st.tuples(st.just("say_down"), st.integers(1, 3)),
    st.tuples(st.just("say_up"), st.integers(1, 3)),
    st.tuples(st.just("carry_down"), st.integers(1, 90)),
    st.tuples(st.just("carry_up"), st.integers(1, 90)),
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.0])),
    st.tuples(st.just("cut"), st.booleans(), st.integers(0, 2)),
)


@pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=["json", "messagepack"])
@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40))
def test_every_message_once_and_in_order_whatever_is_cut(protocol: HubProtocol, steps: list[tuple[Any, ...]]) -> None:
    line = Line(protocol)
    for name, *arguments in steps:
        getattr(line, name)(*arguments)
    line.cut(noticed=True)
    line.settle()
    assert line.heard == list(range(1, line.peer.said + 1))
    assert line.peer.heard == list(range(1, line.said + 1))
    assert (line.session.buffered, line.peer.unacknowledged) == (0, {})


def test_what_the_old_socket_brought_is_ignored_until_the_new_one_is_read() -> None:
    session = HubSession([JSON], Settings(), 0.0, resumable=True)
    session.receive(b'{"protocol":"json","version":2}\x1e', 0.0)
    session.dispatched(0.0)
    first, second = JsonProtocol().invocation("say", [1]), JsonProtocol().invocation("say", [2])
    heard: list[object] = []

    def receive(data: bytes) -> None:
        heard.extend(output.arguments[0] for output in session.receive(data, 1.0) if isinstance(output, Invocation))
        session.dispatched(1.0)

    session.ended(graceful=False)  # while both calls wait until they can be received
    receive(first)
    session.resume(1.0, late=True)
    receive(second)
    session.reconnected()
    receive(JsonProtocol().sequence(1) + first + second[:10])
    session.ended(graceful=False)
    session.resume(1.0, late=True)
    receive(second[10:])
    session.reconnected()
    receive(JsonProtocol().sequence(2) + second)
    assert [bytes(argument) for argument in heard] == [b"1", b"2"]  # type: ignore[call-overload]
