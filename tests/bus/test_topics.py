"""Rings, positions, gaps and budgets, first by example and then against a naive list."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from persistconn import Settings
from persistconn.bus.post import POST_OVERHEAD, Payload
from persistconn.bus.topic import Reader, connection, everyone, group, groups_of
from persistconn.bus.topics import Topics

SMALL = Settings(ring_messages=32)


def values(topics: Topics, reader: Reader) -> list[object]:
    return [post.payload.value for post in topics.pull(reader).posts]


def fill(topics: Topics, name: str, count: int, now: float = 0.0) -> None:
    for number in range(count):
        topics.publish(name, Payload(number), now)


def test_a_reader_sees_what_comes_after_it_subscribed() -> None:
    topics = Topics()
    reader = topics.reader("ann")
    topics.subscribe(reader, "news")
    topics.publish("news", Payload("one"), 0.0)
    topics.publish("other", Payload("not mine"), 0.0)
    topics.publish("news", Payload("two"), 0.0)
    assert values(topics, reader) == ["one", "two"]
    assert topics.pull(reader).position == 3


def test_nothing_is_kept_for_nobody() -> None:
    topics = Topics()
    assert topics.publish("news", Payload(1), 0.0) is None
    assert topics.is_empty
    assert topics.head == 1


def test_topics_come_together_in_the_order_of_publishing() -> None:
    topics = Topics()
    reader = topics.reader("ann")
    topics.subscribe(reader, "a")
    topics.subscribe(reader, "b")
    for number, name in enumerate("abba"):
        topics.publish(name, Payload(number), 0.0)
    assert values(topics, reader) == [0, 1, 2, 3]


def test_subscribing_twice_is_once_and_unsubscribing_a_stranger_is_nothing() -> None:
    topics = Topics()
    reader = topics.reader("ann")
    topics.unsubscribe(reader, "news")
    topics.subscribe(reader, "news")
    topics.unsubscribe(topics.reader("bob"), "news")
    topics.subscribe(reader, "news")
    topics.publish("news", Payload(1), 0.0)
    assert values(topics, reader) == [1]
    assert list(topics.readers("news")) == [reader]
    assert list(topics.readers("nowhere")) == []


def test_a_replay_shows_only_what_was_sent_while_a_member() -> None:
    topics = Topics()
    reader = topics.reader("ann")
    other = topics.reader("bob")
    topics.subscribe(other, "g")
    for step in range(5):
        if step == 1 or step == 3:
            topics.subscribe(reader, "g")
        if step == 2 or step == 4:
            topics.unsubscribe(reader, "g")
        topics.publish("g", Payload(step), 0.0)
    assert values(topics, reader) == [1, 3]


def test_the_excluded_do_not_see_it() -> None:
    topics = Topics()
    ann, bob = topics.reader("ann"), topics.reader("bob")
    topics.subscribe(ann, "g")
    topics.subscribe(bob, "g")
    topics.publish("g", Payload(1), 0.0, exclude=["ann"])
    assert (values(topics, ann), values(topics, bob)) == ([], [1])


def test_a_ring_holds_at_least_its_messages_and_counts_a_gap() -> None:
    topics = Topics(SMALL)
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    fill(topics, "g", 40)
    assert topics.pull(reader).missed == 0
    fill(topics, "g", 1)
    batch = topics.pull(reader)
    assert (batch.missed, len(batch.posts)) == (9, 32)
    assert topics.statistics().dropped_ring_messages == 9


def test_a_gap_is_reported_once() -> None:
    topics = Topics(SMALL)
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    fill(topics, "g", 41)
    assert topics.account(reader) == 9
    assert topics.account(reader) == 0
    assert topics.pull(reader).missed == 0
    fill(topics, "g", 9)
    assert topics.pull(reader).missed == 9


def test_a_gap_does_not_count_what_was_not_for_the_reader() -> None:
    topics = Topics(SMALL)
    reader, other = topics.reader("ann"), topics.reader("bob")
    topics.subscribe(other, "g")
    fill(topics, "g", 3)
    topics.subscribe(reader, "g")
    topics.publish("g", Payload("not ann"), 0.0, exclude=["ann"])
    fill(topics, "g", 37)
    assert topics.pull(reader).missed == 5  # of the nine that went, three came before ann and one was not for her
    assert topics.pull(other).missed == 9
    assert len(topics.pull(reader).posts) == 32


def test_a_gap_older_than_can_be_counted_has_no_size() -> None:
    topics = Topics(SMALL)
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    fill(topics, "g", 32 * 24)
    assert topics.pull(reader).missed is None
    assert topics.account(reader) is None
    assert topics.account(reader) == 0


def test_a_member_who_left_before_the_forgotten_has_lost_nothing() -> None:
    topics = Topics(SMALL)
    reader, other = topics.reader("ann"), topics.reader("bob")
    topics.subscribe(other, "g")
    topics.subscribe(reader, "g")
    topics.unsubscribe(reader, "g")
    fill(topics, "g", 32 * 24)
    assert topics.pull(reader).missed == 0


def test_bytes_bound_a_ring() -> None:
    topics = Topics(Settings(ring_bytes=4 * (POST_OVERHEAD + 102)))
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    for _ in range(6):
        topics.publish("g", Payload("x" * 100), 0.0)
    assert (topics.pull(reader).missed, len(topics.pull(reader).posts)) == (2, 4)
    assert topics.statistics().dropped_ring_bytes == 2


def test_one_budget_bounds_all_rings_oldest_first() -> None:
    topics = Topics(Settings(total_ring_bytes=4 * (POST_OVERHEAD + 102)))
    reader = topics.reader("ann")
    topics.subscribe(reader, "a")
    topics.subscribe(reader, "b")
    for name in "aabbb":
        topics.publish(name, Payload("x" * 100), 0.0)
    assert topics.pull(reader).missed is None
    assert topics.bytes == 4 * (POST_OVERHEAD + 102)
    assert topics.statistics().dropped_total_ring_bytes == 1


def test_the_budget_counts_what_is_remembered_of_dropped_posts() -> None:
    topics = Topics(Settings(ring_messages=32, total_ring_bytes=60 * POST_OVERHEAD))
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    for _ in range(200):
        topics.publish("g", Payload(1), 0.0)
    assert topics.bytes <= 60 * POST_OVERHEAD


def test_a_post_larger_than_the_budget_stays_alone() -> None:
    topics = Topics(Settings(ring_messages=32, total_ring_bytes=4 * POST_OVERHEAD))
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    fill(topics, "g", 2)
    topics.publish("g", Payload("x" * 1_000), 0.0)
    assert values(topics, reader) == ["x" * 1_000]
    assert topics.pull(reader).missed is None


def test_under_the_budget_the_places_of_dropped_posts_go_first() -> None:
    size = POST_OVERHEAD + len(b"40")
    topics = Topics(Settings(ring_messages=32, total_ring_bytes=41 * size))
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    topics.subscribe(reader, "h")
    fill(topics, "g", 41)  # nine are dropped, and counted
    assert topics.pull(reader).missed == 9
    for number in range(9):
        topics.publish("h", Payload(number), 0.0)
    assert topics.pull(reader).missed is None
    assert len(topics.pull(reader).posts) == 41


def test_who_was_excluded_is_known_as_long_as_a_loss_can_be_counted() -> None:
    topics = Topics(SMALL)
    reader, other = topics.reader("ann"), topics.reader("bob")
    topics.subscribe(reader, "g")
    topics.subscribe(other, "g")
    for _ in range(32 * 24):
        topics.publish("g", Payload(1), 0.0, exclude=["ann"])
    assert topics.pull(other).missed is None
    other.position = 32 * 23 - 60
    assert (topics.pull(other).missed, topics.pull(reader).missed) == (53, None)
    reader.position = other.position
    assert topics.pull(reader).missed == 0


def test_age_empties_rings_and_forgets_topics() -> None:
    topics = Topics(Settings(ring_messages=32, ring_age=10))
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    fill(topics, "g", 41, now=0.0)
    topics.publish("g", Payload("young"), 5.0)
    topics.expire(11.0)
    assert values(topics, reader) == ["young"]
    assert topics.pull(reader).missed is None
    topics.unsubscribe(reader, "g")
    topics.expire(16.0)
    assert topics.is_empty
    assert (topics.statistics().topics, topics.bytes, topics.statistics().expired) == (0, 0, 33)


def test_a_removed_reader_leaves_nothing() -> None:
    topics = Topics(SMALL)
    reader, other = topics.reader("ann"), topics.reader("bob")
    own = connection("ann")
    topics.subscribe(reader, own)
    topics.subscribe(reader, "g")
    topics.subscribe(other, "g")
    fill(topics, own, 200)
    fill(topics, "g", 1)
    topics.remove(reader)
    topics.remove(topics.reader("stranger"))
    assert values(topics, other) == [0]
    statistics = topics.statistics()
    assert (statistics.topics, statistics.posts) == (1, 1)
    topics.expire(1e9)
    assert (topics.bytes, topics.is_empty) == (0, True)


def test_a_batch_is_bounded_in_messages_and_bytes() -> None:
    topics = Topics(Settings(batch_messages=3, batch_bytes=2 * (POST_OVERHEAD + 102)))
    reader = topics.reader("ann")
    topics.subscribe(reader, "g")
    for text in ("x" * 100, "y" * 100, "z" * 100):
        topics.publish("g", Payload(text), 0.0)
    first = topics.pull(reader)
    assert (len(first.posts), first.position) == (2, 2)
    reader.position = first.position
    assert len(topics.pull(reader).posts) == 1
    reader.position = 3
    for number in range(4):
        topics.publish("g", Payload(number), 0.0)
    assert [len(topics.pull(reader).posts), topics.pull(reader).position] == [3, 6]


def test_waiting_counts_what_was_not_handed_out() -> None:
    topics = Topics()
    reader = topics.reader("ann")
    group = topics.subscribe(reader, "g")
    fill(topics, "g", 5)
    reader.position = 2
    assert topics.waiting(reader, group, 10) == (3, 3 * (POST_OVERHEAD + 1))
    assert topics.waiting(reader, group, 2)[0] == 2


def test_memberships_that_no_cursor_can_show_are_trimmed() -> None:
    topics = Topics(SMALL)
    reader, other = topics.reader("ann"), topics.reader("bob")
    topics.subscribe(other, "g")
    topics.subscribe(reader, "g")
    topics.subscribe(reader, "kept")
    fill(topics, "g", 100)
    topics.account(reader)
    topics.unsubscribe(reader, "g")
    topics.trim(reader)
    assert len(reader.memberships) == 2  # it has not read it yet
    reader.position = topics.head
    topics.expire(1e9)
    topics.trim(reader)
    assert [topic.name for topic in reader.memberships] == ["kept"]
    topics.subscribe(reader, "h")
    topics.unsubscribe(reader, "h")
    reader.accounted = None
    topics.advance()
    reader.position = topics.head
    topics.trim(reader)
    assert [topic.name for topic in reader.memberships] == ["kept"]


def test_groups_are_listed_by_name_for_one_route() -> None:
    topics = Topics()
    reader = topics.reader("ann")
    for name in (group("/a", "two"), group("/a", "one"), group("/b", "other"), everyone("/a"), group("/a", "left")):
        topics.subscribe(reader, name)
    topics.unsubscribe(reader, group("/a", "left"))
    assert groups_of(reader, "/a") == ("one", "two")
    assert topics.group_count(reader, "/a") == 2


def test_a_topic_names_itself_without_its_group() -> None:
    topics = Topics()
    topics.subscribe(topics.reader("ann"), group("/a", "secret name"))
    assert repr(next(iter(topics._topics.values()))) == "<Topic group:/a 0 posts, 1 readers>"


# Against a naive list ----------------------------------------------------------------------------


@dataclass
class Naive:
    """A reader that keeps everything it is owed."""

    reader: Reader
    owed: list[int] = field(default_factory=list)
    member_of: set[str] = field(default_factory=set)


class TopicsMachine(RuleBasedStateMachine):
    """No loss within the ring, no repeat, order kept, gaps exact, bytes bounded, whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings(ring_messages=32, batch_messages=7, ring_age=50, total_ring_bytes=150 * POST_OVERHEAD)
        self.topics = Topics(self.settings)
        self.readers: list[Naive] = []
        self.now = 0.0

    @precondition(lambda self: len(self.readers) < 6)
    @rule()
    def arrive(self) -> None:
        self.readers.append(Naive(self.topics.reader(f"r{len(self.readers)}")))

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0, 5), name=st.sampled_from("abc"))
    def subscribe(self, index: int, name: str) -> None:
        naive = self.readers[index % len(self.readers)]
        self.topics.subscribe(naive.reader, name)
        naive.member_of.add(name)

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0, 5), name=st.sampled_from("abc"))
    def unsubscribe(self, index: int, name: str) -> None:
        naive = self.readers[index % len(self.readers)]
        self.topics.unsubscribe(naive.reader, name)
        naive.member_of.discard(name)

    @rule(name=st.sampled_from("abc"), count=st.integers(1, 60), exclude=st.sets(st.integers(0, 5), max_size=2))
    def publish(self, name: str, count: int, exclude: set[int]) -> None:
        for _ in range(count):
            excluded = [f"r{index}" for index in exclude]
            self.topics.publish(name, Payload(1), self.now, exclude=excluded)
            for index, naive in enumerate(self.readers):
                if name in naive.member_of and index not in exclude:
                    naive.owed.append(self.topics.head)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.topics.expire(self.now)

    @precondition(lambda self: self.readers)
    @rule(index=st.integers(0, 5))
    def read(self, index: int) -> None:
        naive = self.readers[index % len(self.readers)]
        missed = self.topics.account(naive.reader)
        batch = self.topics.pull(naive.reader)
        got = [post.position for post in batch.posts]
        assert batch.missed == 0  # it has just been accounted for
        due = [position for position in naive.owed if position <= batch.position]
        lost = [position for position in naive.owed if position not in got and position <= batch.position]
        assert got == [position for position in due if position not in lost]
        if missed is not None and len(batch.posts) < self.settings.batch_messages:
            assert len(lost) == missed - self.lost_later(naive, batch.position)
        if missed == 0:
            assert not lost
        naive.owed = [position for position in naive.owed if position > batch.position]
        if missed != 0:
            kept = {post.position for topic in naive.reader.memberships for post in topic.ring}
            naive.owed = [position for position in naive.owed if position in kept]
        naive.reader.position = batch.position

    def lost_later(self, naive: Naive, position: int) -> int:
        kept = {post.position for topic in naive.reader.memberships for post in topic.ring}
        return sum(owed > position and owed not in kept for owed in naive.owed)

    @invariant()
    def budgets_hold(self) -> None:
        assert self.topics.bytes <= self.settings.total_ring_bytes
        kept = {id(post): post for topic in self.topics._topics.values() for post in topic.ring}
        assert self.topics.statistics().posts == len(kept)
        assert sum(post.size for post in kept.values()) <= self.topics.bytes
        assert all(len(topic.ring) <= 40 for topic in self.topics._topics.values())


TestTopicsMachine = TopicsMachine.TestCase
TestTopicsMachine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
