"""What is promised to clients of ASP.NET Core: exactly once where stateful reconnect was agreed, else until a cut."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from .links import Line
from .rings import Holdings
from .stories import Arrival, Attachment, Broken, Phase, Story

__all__ = ["AspNetCoreRules"]


class AspNetCoreRules(ABC):
    """The part of the oracle that knows this dialect.

    A connection without stateful reconnect ends with its socket, or with an answer to a poll of which nobody knows
    whether it arrived; with it, only a goodbye or the disconnect time-out end it. No token of theirs is adopted.
    """

    stories: dict[str, Story]
    holdings: Holdings
    now: float
    disconnect_timeout: float

    @abstractmethod
    def _begins(self, id: str, what: str) -> Story:
        """The story of a connection that begins now."""

    # What goes in -------------------------------------------------------------------------------

    def negotiated(self, id: str, *, is_hub: bool) -> None:
        """The server made this connection, which nobody carries yet. A hub connection reads nothing so far."""
        if id in self.stories:
            raise Broken("negotiate", f"{id} was given to two clients")
        story = self.stories[id] = Story(id)
        story.dialect = "aspnetcore"
        story.phase = Phase.NEW
        story.is_deaf = is_hub
        story.has_rejoined = True
        story.detached_at = self.now

    def polled(self, id: str) -> None:
        """The first poll has come, which is answered at once."""
        story = self.stories.get(id)
        if story is not None and story.is_known:
            story.detached_at = self.now

    def attached(self, id: str, line: int, seen: int, *, is_stream: bool) -> None:
        """A transport was let in."""
        story = self.stories[id]
        if not story.is_known:
            raise Broken("revived", f"{id} is over, and is let in again")
        if is_stream and story.attachments and not story.is_stateful:
            raise Broken("revived", f"{id} lost its transport, and is let in again without stateful reconnect")
        if story.must_end:
            raise Broken("revived", f"{id} has gone for good, and is let in again")
        story.attachments[line] = Attachment(line, seen, seen < story.seen)
        story.attached_line = line
        story.detached_at = None

    def agreed(self, id: str, *, stateful: bool) -> None:
        """The handshake has succeeded."""
        story = self.stories[id]
        story.is_deaf = False
        story.is_stateful = stateful

    def is_deaf(self, id: str) -> bool:
        """Nothing may be sent to it before its handshake."""
        story = self.stories.get(id)
        return story is not None and story.is_deaf

    def said(self, id: str, text: str) -> None:
        """The client of a stateful connection says something: it repeats it until it is acknowledged."""
        self.stories[id].arrivals.append(Arrival(-1, text))

    def gone(self, id: str, line: int, *, is_stream: bool, graceful: bool, uncertain: bool) -> None:
        """The server is told that this line of a living connection has gone.

        `uncertain`: messages were being written as the whole answer to a poll.
        """
        story = self.stories.get(id)
        if story is None or not story.is_known:
            return
        if uncertain:
            story.must_end = True  # what follows would follow a gap
        elif story.attached_line == line and is_stream:
            story.must_end = graceful or not story.is_stateful

    def committed(self, id: str, numbers: Iterable[int], line: Line) -> None:
        """These publications are the answer to a poll."""
        story = self.stories.get(id)
        if story is not None:
            for number in numbers:
                story.committed[number] = line

    def closing(self, id: str) -> None:
        """The application ends this connection; what was sent before is still to arrive."""
        story = self.stories.get(id)
        if story is None or story.phase is not Phase.CONNECTED or story.must_end or story.ending:
            return
        story.ending = True
        report = self.holdings.report(None, self.now)
        if not any(self.holdings.may_have_dropped(number, report) for number in story.expected[story.seen :]):
            story.final = len(story.expected)
            story.final_until = self.now + self.disconnect_timeout - 1.0

    def told_over(self, id: str) -> None:
        """A poll is answered with the end."""
        story = self.stories.get(id)
        if story is not None and story.ending:
            story.final_until = 0.0

    def unknown_poll(self, id: str) -> None:
        """A poll is answered with: there is no such connection."""
        story = self.stories.get(id)
        if story is not None and self.now < story.final_until:
            raise Broken("last words", f"{id} was ended, and its client is not told so when it polls")

    # What comes out -----------------------------------------------------------------------------

    def left_well(self, id: str) -> None:
        """The client heard that the server has said all, on a transport that was never cut."""
        story = self.stories[id]
        if story.final is None or story.reports or story.has_lost:
            return
        missing = [n for n in story.expected[story.seen : story.final] if not self.is_lost_on_the_way(story, n)]
        if missing:
            raise Broken("last words", f"{id} was ended before it got {missing}")

    def is_lost_on_the_way(self, story: Story, number: int) -> bool:
        """It was the answer to a poll, and its line broke: nobody can tell."""
        line = story.committed.get(number)
        return line is not None and line.cut

    # What the application is told ---------------------------------------------------------------

    def told_data(self, id: str) -> None:
        """Received, with anything from a part of a message to many of them: `heard` says which."""
        story = self._begins(id, "Received")
        if story.phase is not Phase.CONNECTED:
            raise Broken("lifecycle", f"Received for {id}, which is {story.phase.value}")

    def heard(self, id: str, text: str) -> None:
        """A message is whole."""
        arrivals = self.stories[id].arrivals
        while arrivals and arrivals[0].text != text and arrivals[0].may_vanish:
            arrivals.pop(0)
        if not arrivals or arrivals[0].text != text:
            due = arrivals[0].text if arrivals else "nothing"
            raise Broken("inbound order", f"{id}: received {text!r}, but {due!r} was due")
        arrivals.pop(0)

    def told_alarm(self, id: str) -> None:
        """Alarm."""
        story = self._begins(id, "Alarm")
        if story.phase is not Phase.CONNECTED:
            raise Broken("lifecycle", f"Alarm for {id}, which is {story.phase.value}")

    def _judge_return(self, story: Story, *, recovered: bool, missed: int | None, adopted: bool) -> None:
        """Reconnected."""
        if not story.is_stateful or adopted:
            raise Broken("lifecycle", f"Reconnected for {story.id}, which cannot come back")
        if not recovered or missed != 0:
            raise Broken("recovered", f"{story.id}: recovered={recovered}, missed={missed} of a resumed connection")

    def _judge_end(self, story: Story, reason: str) -> None:
        """Disconnected, for this reason."""
        if reason == "timed_out" and story.must_end:
            raise Broken("end", f"{story.id} timed out, but it had gone for good")
        if reason in ("closed", "aborted", "shutdown") and not (story.must_end or story.ending):
            raise Broken("end", f"{story.id} ended ({reason}), but neither side has asked for that")

    def _judge_silence(self, story: Story) -> None:
        """Nothing is told at the moment: has everything been told?"""
        if story.must_end:
            raise Broken("end", f"{story.id} has gone for good, and nobody was told")
