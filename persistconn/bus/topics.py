"""A ring of recent posts per topic, one numbering for all of them, and readers that pull by position.

Nothing is queued per reader: a reader is a position, and what it has not seen is what its topics hold
after that position. A reader that stays away too long meets a gap, and learns how many posts it missed.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from ..settings import Settings
from .intervals import Intervals, overlaps, visible, with_span
from .post import POST_OVERHEAD, Encoded, Post
from .topic import Reader, Topic, connection, groups_of

__all__ = ["LOST_OVERHEAD", "Batch", "TopicStatistics", "Topics"]

_LOST_PER_RING = 16
"""Posts beyond the ring that are still counted in a gap, in rings."""
LOST_OVERHEAD: Final = 16
"""Bytes that each of them costs, counted in the total budget."""


class Batch(Struct, frozen=True):
    """What a reader gets next: `posts` in order, the position after them, and the gap before them."""

    posts: list[Post]
    position: int
    missed: int | None
    """How many posts are lost to this reader; None: more than can be counted."""


@dataclass(frozen=True, slots=True)
class TopicStatistics:
    """What the rings hold and what they had to drop, by the limit that demanded it."""

    topics: int
    posts: int
    bytes: int
    published: int
    dropped_ring_messages: int
    dropped_ring_bytes: int
    dropped_total_ring_bytes: int
    expired: int


class Topics:
    """All topics of a process.

    >>> from persistconn import Payload
    >>> topics = Topics()
    >>> ann = topics.reader("ann")
    >>> topics.subscribe(ann, "news")
    <Topic news 0 posts, 1 readers>
    >>> post = topics.publish("news", Payload("hi"), 0.0)
    >>> [p.payload.value for p in topics.pull(ann).posts]
    ['hi']
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._topics: dict[str, Topic] = {}
        self._fronts: list[tuple[int, int, Topic]] = []
        """A heap: each topic that has a ring, by the position of its oldest post, or by an older one."""
        self._most_lost = self._settings.ring_messages * _LOST_PER_RING
        self._ring_bytes = self._settings.ring_bytes
        self._total_bytes = self._settings.total_ring_bytes
        self._slack = self._settings.ring_messages + self._settings.ring_messages // 4
        self.head = 0
        """Position of the newest post of all."""
        self.bytes = 0
        self.news: list[Topic] = []
        """Topics that were posted to since `take_news`."""
        self.news_is_shared = False
        """Some of them may have the same readers."""
        self._unpublished = 0
        """Positions that were taken without a post."""
        self._dropped = {"ring_messages": 0, "ring_bytes": 0, "total_ring_bytes": 0, "age": 0}

    # Reading ------------------------------------------------------------------------------------

    def reader(self, id: str) -> Reader:
        """A new reader that has seen all there was."""
        return Reader(id, self.head)

    def subscribe(self, reader: Reader, name: str) -> Topic:
        """Let `reader` see what is published to `name` from now on. Twice is once."""
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = Topic(name)
        if reader not in topic.readers:
            topic.readers[reader] = None
            reader.memberships[topic] = (*reader.memberships.get(topic, ()), self.head)
        return topic

    def unsubscribe(self, reader: Reader, name: str) -> None:
        """Let `reader` see nothing that is published to `name` from now on; what was before, it still may."""
        topic = self._topics.get(name)
        if topic is None or reader not in topic.readers:
            return
        del topic.readers[reader]
        reader.memberships[topic] += (self.head,)
        self._forget_if_idle(topic)

    def remove(self, reader: Reader) -> None:
        """Forget `reader`, and its own topic if it has one."""
        own = self._topics.get(connection(reader.id))
        for topic in reader.memberships:
            topic.readers.pop(reader, None)
            self._forget_if_idle(topic)
        reader.memberships = {}
        reader.accounted = None
        if own is not None:
            self.bytes -= own.bytes
            own.bytes = 0
            own.ring.clear()
            self._forget_lost(own)
            self._forget_if_idle(own)

    def readers(self, name: str) -> Collection[Reader]:
        """Who reads `name` now."""
        topic = self._topics.get(name)
        return () if topic is None else topic.readers

    def group_count(self, reader: Reader, route: str) -> int:
        """In how many groups of `route` the reader is."""
        return len(groups_of(reader, route))

    def fit_together(self, topic: Topic, posts: list[Post]) -> list[bytes] | None:
        """What is in these posts of `topic`, if all are still here and one envelope may hold them."""
        ring = topic.ring
        if len(posts) == 1 and ring and ring[-1] is posts[0]:
            return [posts[0].payload.json]
        if not ring or posts[0].position < ring[0].position:
            return None
        made = [post.payload.json for post in posts]
        size = sum(map(len, made)) + len(made) * POST_OVERHEAD
        fits = len(made) <= self._settings.batch_messages and size <= self._settings.batch_bytes
        return made if fits else None

    def pull(self, reader: Reader) -> Batch:
        """What `reader` has not seen, oldest first, as much as one envelope may hold. Changes nothing."""
        position = reader.position
        if position == self.head:
            return Batch([], position, 0)
        posts: list[Post] = []
        missed: int | None = 0
        sources = 0
        for topic, intervals in reader.memberships.items():
            if topic.head <= position:
                continue
            sources += 1
            if topic.forgotten > position or (topic.lost and topic.lost[-1] > position):
                missed = _add(missed, self._missed(topic, intervals, reader))
            newer: list[Post] = []
            for post in reversed(topic.ring):  # from the newest back: the reader is usually near it
                if post.position <= position:
                    break
                if visible(post.position, post.exclude, intervals, reader.id):
                    newer.append(post)
            newer.reverse()
            posts += newer
        if sources > 1:
            posts.sort(key=_position)
        return self._limited(posts, missed)

    def take_all(self, reader: Reader) -> list[Post]:
        """What `reader` has not seen, up to a gap, in however many batches; it counts as seen."""
        posts: list[Post] = []
        while (batch := self.pull(reader)).missed == 0 and batch.position > reader.position:
            posts += batch.posts
            reader.position = batch.position
        return posts

    def _limited(self, posts: list[Post], missed: int | None) -> Batch:
        size = 0
        for count, post in enumerate(posts):
            size += post.size
            if count == self._settings.batch_messages or (count and size > self._settings.batch_bytes):
                return Batch(posts[:count], posts[count - 1].position, missed)
        return Batch(posts, self.head, missed)

    def account(self, reader: Reader) -> int | None:
        """How many posts are lost to `reader` that were not reported before; from now on, they were."""
        missed: int | None = 0
        for topic, intervals in reader.memberships.items():
            end = topic.lost[-1] if topic.lost else topic.forgotten
            if end > reader.position:
                missed = _add(missed, self._missed(topic, intervals, reader))
                if reader.accounted is None:
                    reader.accounted = {}
                told = reader.accounted.get(topic, ())
                reader.accounted[topic] = with_span(told, reader.position, end, topic.forgotten)
        return missed

    def _missed(self, topic: Topic, intervals: Intervals, reader: Reader) -> int | None:
        after = reader.position
        told = () if reader.accounted is None else reader.accounted.get(topic, ())
        for start, end in told:
            if start <= after < end:
                after = end
        if overlaps(intervals, after, topic.forgotten):
            return None
        missed = 0
        excludes = topic.excludes or {}
        for position in reversed(topic.lost or ()):
            if position <= after:
                break
            if visible(position, excludes.get(position), intervals, reader.id):
                missed += not any(start < position <= end for start, end in told)
        return missed

    def waiting(self, reader: Reader, topic: Topic, most: int) -> tuple[int, int]:
        """How many posts of `topic` (at most `most`), and how many bytes, `reader` has not been handed."""
        count = size = 0
        for post in reversed(topic.ring):
            if post.position <= reader.position or count >= most:
                break
            count += 1
            size += post.size
        return count, size

    def trim(self, reader: Reader) -> None:
        """Drop memberships that ended before anything that is still kept: no cursor can show them again."""
        front = self._oldest()
        oldest = self.head + 1 if front is None else front.ring[0].position
        for topic, intervals in list(reader.memberships.items()):
            until = min((topic.lost[0] if topic.lost else oldest) - 1, oldest - 1, reader.position)
            over = 0
            while over + 1 < len(intervals) and intervals[over + 1] <= until:
                over += 2
            if over == len(intervals):
                del reader.memberships[topic]
                if reader.accounted is not None:
                    reader.accounted.pop(topic, None)
            elif over:
                reader.memberships[topic] = intervals[over:]

    # Writing ------------------------------------------------------------------------------------

    def publish(self, name: str, payload: Encoded, now: float, exclude: Collection[str] = ()) -> Post | None:
        """Give `payload` the next position. None when nobody reads `name`: then nobody ever will."""
        topic = self._topics.get(name)
        if topic is None or not topic.readers:
            self.head += 1
            return None
        return self.post(topic, payload, now, frozenset(exclude) if exclude else None)

    def post(self, topic: Topic, payload: Encoded, now: float, exclude: frozenset[str] | None = None) -> Post:
        """The same for a topic that has readers."""
        self.head = topic.head = head = self.head + 1
        size = len(payload.json) + POST_OVERHEAD
        post = Post(head, payload, exclude, size, now)
        news = topic.news
        if news is not None:
            news.append(post)
        else:
            topic.news = [post]
            self.news.append(topic)
            if not topic.is_private:
                self.news_is_shared = True
        ring = topic.ring
        if not ring:
            heapq.heappush(self._fronts, (head, id(topic), topic))
        ring.append(post)
        topic.bytes = held = topic.bytes + size
        self.bytes = total = self.bytes + size
        if held > self._ring_bytes or total > self._total_bytes or len(ring) > self._slack:
            self._keep_limits(topic)
        return post

    def _keep_limits(self, topic: Topic) -> None:
        if len(topic.ring) > self._slack:
            self._drop(topic, "ring_messages", len(topic.ring) - self._settings.ring_messages)
        while topic.bytes > self._ring_bytes and len(topic.ring) > 1:
            self._drop(topic, "ring_bytes")
        while self.bytes > self._total_bytes:
            oldest = self._oldest()
            if oldest is None or oldest.ring[0].position == self.head:
                break  # what was just posted stays, however large
            if oldest.lost:
                self._forget_lost(oldest)
            else:
                self._forget_front(oldest, "total_ring_bytes")

    def advance(self) -> int:
        """Take a position without a post, for a change that has to be told from the one before it."""
        self._unpublished += 1
        self.head += 1
        return self.head

    def take_news(self) -> list[Topic]:
        """The topics with `news`; whoever takes them sets that to None."""
        news, self.news = self.news, []
        self.news_is_shared = False
        return news

    def expire(self, now: float) -> None:
        """Forget what is older than `ring_age`."""
        since = now - self._settings.ring_age
        while (oldest := self._oldest()) is not None and oldest.ring[0].time < since:
            self._forget_front(oldest, "age")

    @property
    def is_empty(self) -> bool:
        """Nothing is kept, so nothing can expire."""
        return not self._fronts

    def _oldest(self) -> Topic | None:
        """The topic that has the oldest post of all."""
        fronts = self._fronts
        while fronts:
            position, key, topic = fronts[0]
            if not topic.ring:
                heapq.heappop(fronts)
            elif topic.ring[0].position != position:
                heapq.heapreplace(fronts, (topic.ring[0].position, key, topic))
            else:
                return topic
        return None

    def _drop(self, topic: Topic, limit: str, count: int = 1) -> None:
        """The ring moves on: the oldest payloads go, their places stay."""
        if topic.lost is None:
            topic.lost = array("q")
        ring, lost = topic.ring, topic.lost
        size = 0
        for _ in range(count):
            post = ring.popleft()
            size += post.size
            lost.append(post.position)
            if post.exclude is not None:
                if topic.excludes is None:
                    topic.excludes = {}
                topic.excludes[post.position] = post.exclude
        self._dropped[limit] += count
        topic.bytes -= size
        self.bytes -= size - count * LOST_OVERHEAD
        if len(lost) > self._most_lost + self._most_lost // 4:
            self._forget_lost(topic, keep=self._most_lost)

    def _forget_front(self, topic: Topic, limit: str) -> None:
        """Forget the oldest post of a topic, and where those before it were."""
        self._forget_lost(topic)
        post = topic.ring.popleft()
        topic.forgotten = post.position
        topic.bytes -= post.size
        self.bytes -= post.size
        self._dropped[limit] += 1
        self._forget_if_idle(topic)

    def _forget_lost(self, topic: Topic, keep: int = 0) -> None:
        """Forget where dropped posts were, but for the newest few."""
        lost = topic.lost
        over = len(lost) - keep if lost else 0
        if lost and over:
            topic.forgotten = lost[over - 1]
            del lost[:over]
            self.bytes -= over * LOST_OVERHEAD
            if topic.excludes:
                topic.excludes = {p: who for p, who in topic.excludes.items() if p > topic.forgotten}

    def _forget_if_idle(self, topic: Topic) -> None:
        if not topic.readers and not topic.ring and not topic.lost and self._topics.get(topic.name) is topic:
            del self._topics[topic.name]  # not a newer topic of this name, which somebody may read

    def statistics(self) -> TopicStatistics:
        """What is kept and what was dropped, since the start. Other threads may ask, too."""
        return TopicStatistics(
            topics=len(self._topics),
            posts=sum([len(topic.ring) for topic in list(self._topics.values())]),
            bytes=self.bytes,
            published=self.head - self._unpublished,
            dropped_ring_messages=self._dropped["ring_messages"],
            dropped_ring_bytes=self._dropped["ring_bytes"],
            dropped_total_ring_bytes=self._dropped["total_ring_bytes"],
            expired=self._dropped["age"],
        )


def _position(post: Post) -> int:
    return post.position


def _add(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b
