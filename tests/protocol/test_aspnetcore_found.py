"""What the simulation of ASP.NET Core clients found, each as small as it can be told."""

from __future__ import annotations

import pytest

from persistconn import Settings

from .aspnetcore_talk import TRANSPORTS, CoreClient, CoreTalk
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
