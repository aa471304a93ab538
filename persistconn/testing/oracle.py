"""Knows what every connection should have seen and been told, and says when the promise is broken.

It imports nothing of the core: it learns what went in (publishes, joins, requests) and what came out
(what clients saw, what the application was told), and compares. What a client saw is compared in
*publications*, numbered from 1 in the order in which they were made, whatever topic they went to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable

from .aspnetcore_rules import AspNetCoreRules
from .rings import Holdings, Limits
from .stories import Arrival, Attachment, Broken, Phase, Story, Token

__all__ = ["Oracle"]

_CLOCK_LAG = 1.0
"""How far in the past, in seconds, a caller's clock may be."""
_CLOCK_MARGIN = 1.5
"""How late, in seconds, a time-out may be told."""


class Oracle(AspNetCoreRules):
    """Told of everything; raises `Broken`. `limits` is what the rings promise to hold."""

    def __init__(self, limits: Limits, *, disconnect_timeout: float, disconnect_threshold: float) -> None:
        self.limits = limits
        self.disconnect_timeout = disconnect_timeout
        self.disconnect_threshold = disconnect_threshold
        self.now = 0.0
        self.stories: dict[str, Story] = {}
        self.holdings = Holdings(limits)
        self.tokens: dict[str, Token] = {}
        self.deliveries = 0
        self.reconnects = 0
        self.gaps = 0
        self.lost = 0

    # What goes in -------------------------------------------------------------------------------

    def opening(self, id: str, line: int | None, seen: int, *, connect: bool = False) -> None:
        """A request was let in; `line` is its number when it receives, and `seen` is what its cursor stands for."""
        story = self.stories.get(id)
        if story is None:
            story = self.stories[id] = Story(id)
        if not story.is_known:
            if story.ending and story.phase is Phase.OVER:
                raise Broken("revived", f"{id} was ended, and is let in again")
            story.phase = Phase.NEW
            story.groups = set()
            story.lately = []
            if connect:
                del story.expected[story.seen :]  # an earlier life in which nothing had begun
            story.running = None
            story.ending = False
            story.owed = []
            story.reports = []
            story.has_lost = story.has_rejoined = False
            story.detached_at = self.now
            story.attachments.clear()
        if line is None:
            return
        story.attachments[line] = Attachment(line, seen, seen < story.seen)
        story.attached_line = line
        story.detached_at = None

    def never_began(self, id: str) -> None:
        """The server knows no such connection: if the application never heard of it, it died in silence."""
        story = self.stories.get(id)
        if story is not None and story.phase is Phase.NEW and story.running is None:
            story.phase = Phase.UNKNOWN

    def refused(self, id: str, status: int, *, excused: bool) -> None:
        """A receive request was answered with an error status."""
        story = self.stories.get(id)
        if story is not None and story.phase is Phase.CONNECTED:
            if not (excused or story.ending or story.running or story.must_end):
                raise Broken("refused", f"{id} is connected, and its request was answered with {status}")

    def detached(self, id: str, line: int | None) -> None:
        """That line (None: whatever it is on) has ended on the server's side."""
        story = self.stories.get(id)
        if story is not None and story.attached_line is not None and line in (None, story.attached_line):
            story.attached_line = None
            story.detached_at = self.now

    def ending(self, id: str) -> None:
        """The client or the application ends this connection."""
        story = self.stories.get(id)
        if story is not None and story.phase is not Phase.OVER:  # else there is nothing to end any more
            story.ending = True

    def joined(self, id: str, *groups: str) -> None:
        """The application has put `id` into these groups, one after the other."""
        story = self.stories.get(id)
        if story is not None and story.is_known:
            story.lately = []
            for group in groups:
                story.groups.add(group)
                story.lately.append(frozenset(story.groups))

    def left(self, id: str, group: str) -> None:
        """The application has taken `id` out of `group`."""
        story = self.stories.get(id)
        if story is not None:
            story.groups.discard(group)
            story.once_in.add("#" + group)
            story.lately = []

    def published(self, topic: str, size: int, exclude: Collection[str] = ()) -> int:
        """Everybody of `topic` ('*', '#group' or '@id') is about to be sent something; its number."""
        number = self.holdings.published(topic, size, self.now)
        first, rest = topic[0], topic[1:]
        if first == "@":
            story = self.stories.get(rest)
            if story is not None and story.is_known:
                story.expected.append(number)
            return number
        for story in self.stories.values():
            if (
                story.is_known
                and not story.is_deaf
                and (first == "*" or rest in story.groups)
                and story.id not in exclude
            ):
                story.expected.append(number)
        return number

    def arrived(self, id: str, line: int, text: str, *, needs_attachment: bool = False) -> None:
        """A message from the client has reached the server; if need be, on what it receives on."""
        story = self.stories.get(id)
        if story is not None:
            story.arrivals.append(Arrival(line, text, needs_attachment and story.attached_line != line))

    def arrival_may_vanish(self, id: str, line: int) -> None:
        """Messages that came on `line` were refused, or their line broke."""
        story = self.stories.get(id)
        if story is not None:
            for arrival in story.arrivals:
                if arrival.line == line:
                    arrival.may_vanish = True

    def token_issued(self, id: str, token: str) -> None:
        """The server is sending a groups token."""
        story = self.stories[id]
        self.tokens[token] = Token(id, self.now, (*story.lately, frozenset(story.groups)))

    def restarted(self) -> None:
        """The process has died, and with it all it knew."""
        for story in self.stories.values():
            story.phase = Phase.UNKNOWN
            story.groups = set()
            story.running = None
            story.owed = []
            story.reports = []
            story.attached_line = None
            story.detached_at = None
            story.arrivals = []
            story.must_end = False
            story.final_until = 0.0

    # What comes out -----------------------------------------------------------------------------

    def delivered(self, id: str, numbers: Iterable[int]) -> None:
        """The client's application saw these publications."""
        story = self.stories[id]
        expected = story.expected
        for number in numbers:
            self.deliveries += 1
            at = story.seen
            if at < len(expected) and expected[at] == number:
                story.seen = at + 1
            else:
                self._out_of_step(story, number)
            if story.reports:
                self._settle(story, number)

    def _out_of_step(self, story: Story, number: int) -> None:
        expected = story.expected
        at = bisect_left(expected, number)
        if at == len(expected) or expected[at] != number:
            topic = self.holdings.topic_of(number)
            raise Broken("audience", f"{story.id} saw {number}, which was sent to {topic} without it")
        if at < story.seen:
            raise Broken("order", f"{story.id} saw {number} again, or after {expected[story.seen - 1]}")
        for missing in expected[story.seen : at]:
            self._miss(story, missing)
        story.seen = at + 1

    def _miss(self, story: Story, missing: int) -> None:
        self.lost += 1
        story.has_lost = True
        if self.is_lost_on_the_way(story, missing) or self._excuse(story, missing) or story.phase is Phase.OVER:
            return
        if story.running is None and story.phase is not Phase.NEW:
            raise Broken("silent loss", f"{story.id} never saw {missing}, and nobody was told")
        story.owed.append(missing)  # it is told next, when what runs has completed

    def _excuse(self, story: Story, missing: int) -> bool:
        """A report covers this loss: the first by which the rings may have dropped it."""
        told = False
        for report in story.reports:
            if missing <= report.head and report.left != 0:
                told = True
                if report.left is None:
                    return True
                if self.holdings.may_have_dropped(missing, report):
                    report.left -= 1
                    return True
        if told and story.phase is not Phase.OVER:
            raise Broken("ring", f"{story.id} lost {missing}, which the ring had to hold")
        return False

    def _settle(self, story: Story, number: int) -> None:
        for report in story.reports:
            if report.left and report.exact and number > report.head:
                raise Broken("gap size", f"{story.id}: {report.missed} missed were told, {report.left} too many")
        story.reports = [report for report in story.reports if number <= report.head]

    # What the application is told ---------------------------------------------------------------

    def _begins(self, id: str, what: str) -> Story:
        story = self.stories.get(id)
        if story is None or not story.is_known:
            raise Broken(
                "lifecycle", f"{what} for {id}, which is {'unheard of' if story is None else story.phase.value}"
            )
        if story.running is not None:
            raise Broken("rule 3", f"{what} for {id} while {story.running} has not completed")
        story.running = what
        return story

    def completed(self, id: str) -> None:
        """The callback that ran is over."""
        self.stories[id].running = None

    def told_connected(self, id: str) -> None:
        """Connected."""
        story = self._begins(id, "Connected")
        if story.phase is not Phase.NEW:
            raise Broken("once", f"Connected for {id}, which is {story.phase.value}")
        story.phase = Phase.CONNECTED
        story.has_rejoined = True  # its groups are known here

    def told_rejoining(self, id: str, groups: Collection[str], token: str | None, lifetime: float) -> None:
        """Rejoining: `token` is what the request quoted."""
        story = self._begins(id, "Rejoining")
        if story.has_rejoined:
            raise Broken("rejoining", f"{id} is asked for its groups again")
        story.has_rejoined = True
        given = self._token(id, token)
        if given.owner != id:
            raise Broken("rejoining", f"{id} got in with the token of {given.owner}")
        if frozenset(groups) not in given.groups or self.now - given.time > lifetime:
            raise Broken("rejoining", f"{id}: {sorted(groups)} for {given}")

    def told_reconnected(
        self, id: str, line: int | None, *, recovered: bool, missed: int | None, adopted: bool, known: bool
    ) -> None:
        """Reconnected, for the request on `line`; `known`: that request quoted a cursor of this process."""
        story = self._begins(id, "Reconnected")
        self.reconnects += 1
        if story.dialect == "aspnetcore":
            self._judge_return(story, recovered=recovered, missed=missed, adopted=adopted)
        if story.phase is not (Phase.NEW if adopted else Phase.CONNECTED):
            raise Broken("lifecycle", f"Reconnected(adopted={adopted}) for {id}, which is {story.phase.value}")
        story.phase = Phase.CONNECTED
        if recovered and (adopted or missed):
            raise Broken("recovered", f"{id}: recovered=True with adopted={adopted}, missed={missed}")
        if not recovered:
            if missed == 0:
                raise Broken("recovered", f"{id}: recovered=False, but missed=0")
            self._report(story, line, missed, countable=known and not adopted)

    def told_gap(self, id: str, missed: int | None) -> None:
        """Gap."""
        story = self._begins(id, "Gap")
        if story.phase is not Phase.CONNECTED:
            raise Broken("lifecycle", f"Gap for {id}, which is {story.phase.value}")
        if missed == 0:
            raise Broken("gap size", f"{id} was told of a gap of nothing")
        self._report(story, story.attached_line, missed, countable=True)

    def _report(self, story: Story, line: int | None, missed: int | None, *, countable: bool) -> None:
        self.gaps += 1
        attachment = story.attachments.get(-1 if line is None else line)
        report = self.holdings.report(missed, self.now)
        covered = story.vague > (
            story.expected[attachment.seen - 1] if attachment is not None and attachment.seen else 0
        )
        if missed is None:
            story.vague = report.head
        if attachment is None or attachment.is_stale or covered:  # an earlier report may stand for some of these
            report.exact = False
        elif missed is None and countable:
            # Of what is forgotten nobody knows any more whom it was for.
            since = story.expected[attachment.seen - 1] if attachment.seen else 0
            if all(self.holdings.is_countable(number, report) for number in range(since + 1, report.head + 1)):
                raise Broken("gap size", f"{story.id}: missed=None, but it could be counted")
        story.reports.append(report)
        story.owed = [number for number in story.owed if not self._excuse(story, number)]

    def told_received(self, id: str, text: str) -> None:
        """Received."""
        self._begins(id, "Received")
        self.heard(id, text)

    def told_disconnected(self, id: str, reason: str, *, stalled: bool) -> None:
        """Disconnected; `stalled`: a write to it has taken longer than the deadline."""
        story = self._begins(id, "Disconnected")
        if story.phase is not Phase.CONNECTED:
            raise Broken("lifecycle", f"Disconnected for {id}, which is {story.phase.value}")
        if reason == "timed_out":
            away = None if story.detached_at is None else self.now - story.detached_at
            if away is None or away < self.disconnect_timeout - _CLOCK_LAG:
                raise Broken("timed out", f"{id} has been away for {away} only")
        if reason == "slow" and not stalled:
            report = self.holdings.report(None, self.now)
            unseen = story.expected[story.seen :] + self._of_groups_it_left(story)
            if not story.has_lost and not any(self.holdings.may_have_dropped(number, report) for number in unseen):
                raise Broken("slow", f"{id} was ended as slow, but has missed nothing")
        if story.dialect == "aspnetcore":
            self._judge_end(story, reason)
        story.phase = Phase.OVER
        story.arrivals = []
        story.owed = []

    def _of_groups_it_left(self, story: Story) -> list[int]:
        """Publications of which nobody knows any more, once they are dropped, that it was no member by then."""
        since = story.expected[story.seen - 1] if story.seen else 0
        return [n for n in range(since + 1, self.holdings.head + 1) if self.holdings.topic_of(n) in story.once_in]

    # Now and then -------------------------------------------------------------------------------

    def check_overdue(self) -> None:
        """Nobody is away for longer than the disconnect time-out without the application knowing."""
        allowed = self.disconnect_timeout + self.disconnect_threshold + _CLOCK_MARGIN
        for story in self.stories.values():
            if story.running is not None or story.phase is not Phase.CONNECTED:
                continue
            self._judge_silence(story)
            if story.owed:
                raise Broken("silent loss", f"{story.id} never saw {story.owed}, and nobody was told")
            if story.detached_at is not None:
                away = self.now - story.detached_at
                if away > allowed:
                    raise Broken("timed out", f"{story.id} is away for {away:.1f} s, and nobody was told")

    def audit(self, id: str, token: str | None, lifetime: float) -> None:
        """All is calm and this client is connected: it has seen all, and its groups token is right."""
        story = self.stories[id]
        if story.phase is not Phase.CONNECTED:
            raise Broken("calm", f"the client {id} is connected, but to the application it is {story.phase.value}")
        for missing in story.expected[story.seen :]:
            self._miss(story, missing)
        self._settle(story, self.holdings.head + 1)
        story.seen = len(story.expected)
        if story.arrivals and not all(arrival.may_vanish for arrival in story.arrivals):
            raise Broken("inbound loss", f"{id} said {story.arrivals[0].text!r}, and nobody was told")
        if story.dialect == "aspnetcore":
            return
        given = self._token(id, token)
        is_expired = self.now - given.time > lifetime  # then it stands for no groups, and who is in none needs no other
        if frozenset(story.groups) not in given.groups and not (is_expired and not story.groups):
            raise Broken("groups token", f"{id} holds {given}, but is in {sorted(story.groups)}")
        if story.groups and self.now - given.time > lifetime / 2 + _CLOCK_MARGIN:
            raise Broken("groups token", f"{id} holds one that is {self.now - given.time:.0f} s old")

    def _token(self, id: str, token: str | None) -> Token:
        return self.tokens.get(token or "", Token(id, self.now, (frozenset(),)))
