"""A second caller is told of rule 5 where the endpoint can notice it, and has changed nothing."""

from __future__ import annotations

import pytest

from persistconn.bus.post import Payload
from persistconn.errors import LocalProtocolError
from persistconn.protocol import Disconnected, DisconnectReason

from .aspnetcore_talk import JSON, WS, CoreClient, CoreTalk


def test_a_call_in_the_midst_of_another_is_misuse_and_changes_nothing() -> None:
    """As from another thread: a first call hands out what leaves, which is when payloads are asked for their form."""
    talk = CoreTalk()
    client = CoreClient(talk, WS).start(JSON)
    endpoint = talk.endpoint
    said: list[str] = []

    def form(_: object) -> bytes:
        for call in (
            lambda: endpoint.tick(talk.now),
            lambda: endpoint.close(client.id, talk.now),
            lambda: endpoint.terms.speak(client.id, JSON, talk.now),
        ):
            with pytest.raises(LocalProtocolError) as caught:
                call()
            said.append(str(caught.value))
        return b"late\x1e"

    talk.say(client, Payload.of_forms(None, {"json": form}, b"null"))
    sentence = (
        "this call came while another one hands out what leaves: make all calls in one loop, or hold one lock around"
        " each call and the poll() that follows (rule 5)"
    )
    assert said == [sentence] * 3
    assert client.got == ["late\x1e"]
    talk.close(client)
    (end,) = talk.told(Disconnected)
    assert end.reason is DisconnectReason.aborted
