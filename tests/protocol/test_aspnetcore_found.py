"""What the simulation of ASP.NET Core clients found, each as small as it can be told."""

from __future__ import annotations

import pytest

from persistconn import Settings
from persistconn.bus.post import Payload
from persistconn.protocol import Disconnected

from .aspnetcore_talk import TRANSPORTS, CoreClient, CoreTalk, KeptFrames
from .talk import LP


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_all_that_was_sent_before_the_end_arrives_in_however_many_batches(transport: str) -> None:
    talk = CoreTalk(Settings(batch_messages=2))
    client = CoreClient(talk, transport).start()
    line = client.line
    frames = [b"%d\x1e" % number for number in range(7)]
    talk.slow.add(line)
    talk.say(client, b"first\x1e")  # it is being written, so that the others have to wait
    talk.say(client, *frames)
    talk.close(client)
    talk.sent(line)
    exchanges = [client.get(), client.get()] if transport == LP else [line]
    got = "".join(unit if isinstance(unit, str) else unit.decode() for one in exchanges for unit in talk.units(one))
    assert got.removeprefix("first\x1e") == b"".join(frames).decode()


def test_who_has_to_wait_for_an_ack_misses_nothing_that_was_for_others() -> None:
    talk = CoreTalk(Settings(ring_age=20.0, allow_stateful_reconnect=True))
    client = CoreClient(talk, stateful=True).start()
    kept = KeptFrames(most=1)
    talk.endpoint.terms.resume_with(client.id, kept, talk.now)
    talk.say(client, b"1\x1e")
    talk.endpoint.publish("all:/echo", Payload(0), talk.now, exclude=[client.id])
    talk.now += 15.0
    talk.say(client, b"2\x1e")  # has to wait
    talk.pass_time(14.0)  # what was for others is forgotten
    kept.most = 2
    talk.endpoint.terms.go_on_sending(client.id, talk.now)
    talk.drain()
    assert client.got[-1] == "2\x1e"
    assert not talk.told(Disconnected)
