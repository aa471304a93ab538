"""Bugs on purpose in what only clients of ASP.NET Core meet: stateful reconnect, polls without cursors, goodbyes."""

from __future__ import annotations

from typing import Any

import pytest

from persistconn.bus.topics import Topics
from persistconn.hubs.replay import Replay
from persistconn.hubs.session import HubSession
from persistconn.protocol import Disconnected, ServerEndpoint, aspnetcore_requests, terms
from persistconn.protocol.delivery import Delivery
from persistconn.protocol.last_words import LastWords
from persistconn.protocol.lifecycle import Lifecycle
from persistconn.protocol.terms import Terms

from .planted import Planted, planter, wrap

__all__ = ["PLANTED_IN_ASPNETCORE"]

PLANTED_IN_ASPNETCORE: list[Planted] = []
_planted = planter(PLANTED_IN_ASPNETCORE, "aspnetcore")

# Stateful reconnect -----------------------------------------------------------------------------


@_planted("silent loss", "order", "sequence", "ack", "ring", "last words")
def replay_forgets_a_frame(patch: pytest.MonkeyPatch) -> None:
    def resume(original: Any, self: Any) -> Any:
        number, frames = original(self)
        return number, frames[:-1]

    wrap(patch, Replay, "resume", resume)


@_planted("sequence", "silent loss", "order", "ring", "last words")
def sequence_one_too_high(patch: pytest.MonkeyPatch) -> None:
    def resume(original: Any, self: Any) -> Any:
        number, frames = original(self)
        return number + 1, frames

    wrap(patch, Replay, "resume", resume)


@_planted("sequence", "silent loss", "order", "ring", "last words")
def sequence_one_too_low(patch: pytest.MonkeyPatch) -> None:
    def resume(original: Any, self: Any) -> Any:
        number, frames = original(self)
        return max(1, number - 1), frames

    wrap(patch, Replay, "resume", resume)


@_planted("inbound order")
def repeated_messages_are_new(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Replay, "take", lambda original, self: original(self) or True)


@_planted("ack")
def acknowledgements_not_heeded(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Replay, "acknowledge", lambda original, self, number: original(self, number - 1))


@_planted("silent loss", "order", "sequence", "ring", "last words")
def acknowledged_one_too_many(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Replay, "acknowledge", lambda original, self, number: original(self, number + 1))


@_planted("silent loss", "order", "sequence", "ring", "last words")
def broadcasts_are_not_numbered(patch: pytest.MonkeyPatch) -> None:
    for module in (terms, aspnetcore_requests):
        patch.setattr(module, "numbered", lambda framing: framing)


@_planted("sequence")
def a_new_socket_begins_with_news(patch: pytest.MonkeyPatch) -> None:
    def head_of(original: Any, self: Any, exchange: Any) -> Any:
        exchange.first = ()
        return original(self, exchange)

    wrap(patch, Delivery, "head_of", head_of)


# Ends -------------------------------------------------------------------------------------------


@_planted("end", "refused")
def loss_taken_for_a_goodbye(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Lifecycle, "lost", lambda original, self, exchange, graceful=False: original(self, exchange, True))


@_planted("end")
def goodbye_taken_for_a_loss(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Lifecycle, "lost", lambda original, self, exchange, graceful=False: original(self, exchange, False))


@_planted("end")
def lost_socket_ends_the_one_that_took_over(patch: pytest.MonkeyPatch) -> None:
    def lost(original: Any, self: Any, exchange: Any, graceful: bool = False) -> None:
        exchange.unrepeated = True
        original(self, exchange, graceful)

    wrap(patch, Lifecycle, "lost", lost)


@_planted("end", "revived")
def an_answer_to_a_poll_is_lost_silently(patch: pytest.MonkeyPatch) -> None:
    def lost(original: Any, self: Any, exchange: Any, graceful: bool = False) -> None:
        exchange.unrepeated = False
        original(self, exchange, graceful)

    wrap(patch, Lifecycle, "lost", lost)


@_planted("once", "lifecycle", "rule 3", "LocalProtocolError")
def disconnected_twice(patch: pytest.MonkeyPatch) -> None:
    def queue(original: Any, self: Any, session: Any, *events: Any) -> None:
        original(self, session, *events)
        original(self, session, *(event for event in events if isinstance(event, Disconnected)))

    wrap(patch, Lifecycle, "_queue", queue)


@_planted("last words")
def nothing_is_kept_for_the_last_poll(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, LastWords, "leave", lambda original, self, key, whose, rest, now: original(self, key, whose, b"", now))


@_planted("last words")
def the_end_is_not_told_to_who_polls(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, LastWords, "leave", lambda original, *given: None)


@_planted("last words")
def last_words_are_one_batch(patch: pytest.MonkeyPatch) -> None:
    def all_posts(original: Any, self: Any, session: Any) -> Any:
        return original(self, session)[: self._settings.batch_messages]

    wrap(patch, Topics, "take_all", all_posts)


# What clients say, and when ---------------------------------------------------------------------


@_planted("inbound order")
def posts_that_waited_are_swapped(patch: pytest.MonkeyPatch) -> None:
    def admit(original: Any, self: Any, session: Any) -> None:
        session.held.reverse()
        original(self, session)

    wrap(patch, Lifecycle, "_admit", admit)


@_planted("inbound loss", "inbound order")
def a_post_is_answered_and_dropped(patch: pytest.MonkeyPatch) -> None:
    def receive(original: Any, self: Any, session: Any, exchange: Any, messages: Any) -> None:
        if exchange.duplex or session.inbox is None:
            original(self, session, exchange, messages)

    wrap(patch, Lifecycle, "receive", receive)


@_planted("ack")
def alarms_do_not_come(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, Terms, "alarm", lambda original, self, id, at, now: None)


@_planted("inbound order", "hub protocol", "sequence")
def data_of_the_old_socket_counts_on_the_new_one(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, HubSession, "resume", lambda original, self, now, late=False: original(self, now))


@_planted("keep-alive")
def no_signs_of_life(patch: pytest.MonkeyPatch) -> None:
    def speak(original: Any, self: Any, id: str, format: Any, now: float) -> None:
        original(self, id, type(format)(format.name, farewell=format.farewell), now)

    wrap(patch, Terms, "speak", speak)


@_planted("audience")
def leaving_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, ServerEndpoint, "leave", lambda original, *given: None)
