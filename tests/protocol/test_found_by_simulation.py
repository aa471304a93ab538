"""What the simulation found in this core, each as the shortest conversation that shows it."""

from __future__ import annotations

from persistconn import Settings
from persistconn.bus.post import Payload
from persistconn.bus.topics import Topics
from persistconn.protocol import Connected, Gap, Reconnected, Rejoining

from .talk import LP, SSE, WS, Client, Talk

SMALL = Settings(ring_messages=32, slow_policy="skip")


def test_a_reader_of_an_older_topic_takes_no_newer_one_of_its_name_along() -> None:
    """Seed 10: a group that had been forgotten was made anew, and vanished when its old reader left for good."""
    topics = Topics(SMALL)
    old, new = topics.reader("old"), topics.reader("new")
    topics.subscribe(old, "group")
    topics.unsubscribe(old, "group")  # it is empty: forgotten
    topics.subscribe(new, "group")
    topics.remove(old)
    assert topics.publish("group", Payload("for new"), 0.0) is not None
    assert len(topics.pull(new).posts) == 1


def test_a_displaced_poll_is_answered_with_its_own_position() -> None:
    """Seed 57: a poll that was overtaken sent the position of the newer one back, and a message came twice."""
    talk = Talk()
    client = Client(talk, LP).start()
    behind = client.cursor
    talk.broadcast("once")
    assert client.take() == ["once"]
    waiting = client.poll()
    Client.attach(client, "poll", messageId=behind)  # an older request that arrives now
    assert talk.is_over(waiting)
    assert talk.envelopes(waiting) == [{"C": client.cursor, "M": []}]
    client.poll()
    assert client.take() == []


def test_what_was_on_its_way_before_a_gap_is_counted_when_it_is_lost_too() -> None:
    """Seed 36: the gap was told; then the message before it was lost with its socket, and nobody was told."""
    talk = Talk(SMALL)
    client = Client(talk, WS).start()
    assert client.exchange is not None
    talk.slow.add(client.exchange)
    talk.broadcast("on its way")  # handed out, and never read
    talk.broadcast(*range(100))
    talk.sent(client.exchange)  # so the ring has moved on: the next batch begins after a gap
    (gap,) = talk.told(Gap)
    client.drop()
    client.reconnect()
    (back,) = talk.told(Reconnected)
    assert (back.recovered, back.missed) == (False, 1)
    assert len(client.take()) + gap.missed + back.missed == 101


def test_a_send_that_adopts_leaves_the_groups_to_the_next_transport() -> None:
    """Seed 18: a message reached the restarted server before its sender's transport, which then had no groups."""
    before = Talk()
    client = Client(before, SSE).start()
    before.endpoint.join(client.id, "lobby", before.now)
    before.drain()
    client.take()
    after = client.talk = Talk(epoch=1)
    client.send("hello")
    client.reconnect()
    (rejoining,) = after.told(Rejoining)
    assert rejoining.groups == ("lobby",)
    after.to_group("lobby", "welcome back")
    assert "welcome back" in client.take()
    client.reconnect()
    assert len(after.told(Rejoining)) == 1


def test_a_client_that_may_keep_no_group_gets_a_token_that_says_so() -> None:
    """Seed 11: the old token stayed with the client, and would have let it in after the next restart."""
    before = Talk()
    client = Client(before, SSE).start()
    before.endpoint.join(client.id, "lobby", before.now)
    before.drain()
    client.take()
    after = client.talk = Talk(epoch=1)
    after.automatic = False
    token = client.groups_token
    client.reconnect()
    after.endpoint.complete(after.told(Rejoining)[0], after.now, answer=())
    after.drain()
    client.take()
    assert client.groups_token != token


def test_a_token_of_another_process_with_the_same_version_is_replaced() -> None:
    before = Talk()
    client = Client(before, SSE).start()
    for group in ("one", "two"):
        before.endpoint.join(client.id, group, before.now)
    before.endpoint.leave(client.id, "one", before.now)
    before.drain()
    client.take()
    after = client.talk = Talk(epoch=1)
    client.reconnect()  # joins "two"
    after.endpoint.join(client.id, "three", after.now)
    after.endpoint.join(client.id, "four", after.now)  # version 3, as in the token
    after.drain()
    client.drop()  # and the new tokens are lost with it
    token = client.groups_token
    client.reconnect()
    client.take()
    assert client.groups_token != token


def test_what_a_newcomer_missed_is_told_after_connected() -> None:
    """Seed 337: between a transport and `/start` the ring moved on, and the application was not told."""
    talk = Talk(Settings(ring_messages=32))
    client = Client(talk, WS)
    talk.slow.add(client.attach("connect", slow=True))
    talk.broadcast(*range(100))
    assert client.exchange is not None
    talk.sent(client.exchange)
    client.ask("start")
    connected, gap = talk.events
    assert (type(connected), type(gap)) == (Connected, Gap)
    assert isinstance(gap, Gap)
    assert gap.missed == 100 - len(client.take())
