"""What real proxies found in this core when they were reloaded, each as the shortest conversation that shows it.

A proxy that ends may have passed a poll on that its client has given up already. So it may arrive behind the newer one,
or not before the newer one was answered.
"""

from __future__ import annotations

from persistconn import Settings

from .talk import LP, Client, Talk


def test_a_poll_that_is_late_and_lost_at_once_sends_nobody_back() -> None:
    """Its end was read together with it, so it was never answered, and the next poll went on where it had begun."""
    talk = Talk()
    client = Client(talk, LP).start()
    behind = client.cursor
    talk.broadcast("once")
    assert client.take() == ["once"]
    talk.reads_on = True
    talk.lost(Client.attach(client, "poll", messageId=behind))
    talk.reads_on = False
    client.poll()
    assert client.take() == []
    talk.broadcast("and once more")
    assert client.take() == ["and once more"]


def test_a_poll_that_is_late_and_gets_a_part_only_sends_nobody_back() -> None:
    talk = Talk(Settings(batch_messages=2))
    client = Client(talk, LP).start()
    behind = client.cursor
    for number in range(5):
        talk.broadcast(number)
        assert client.take() == [number]
        client.poll()
    late = Client.attach(client, "poll", messageId=behind)
    assert [envelope["M"] for envelope in talk.envelopes(late)] == [[0, 1]]
    client.poll()
    assert client.take() == []
    talk.broadcast(5)
    assert client.take() == [5]
