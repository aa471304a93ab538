"""Who is let in: what the application thinks of a request, and whether there is room for somebody new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from ..bus.topics import Topics
from ..settings import Settings
from ..wire.classic_answers import empty_answer, text_answer
from ..wire.http import Piece, RawHeaders
from .delivery import Delivery
from .exchange import Exchange
from .lifecycle import Lifecycle

__all__ = ["ADMITTED", "Admission", "Newcomers", "refused"]


class Admission(Struct, frozen=True):
    """What the application thinks of a request before the endpoint sees it.

    `status` 200 lets it in; any other refuses it, with a sentence that says why in `reason`. `topics` are read by a
    connection that this request begins (`bus.topic.named`). `error` and `redirect_url` (with `access_token`) are
    for negotiate: the client's start fails with the text, or it negotiates again over there. `expires_in` is for how
    many seconds more the client's credentials are good; a connection ends then, unless newer ones have come.
    """

    status: int = 200
    reason: str = ""
    topics: Sequence[str] = ()
    redirect_url: str | None = None
    access_token: str | None = None
    error: str | None = None
    expires_in: float | None = None


ADMITTED: Final = Admission()

_RETRY: Final[RawHeaders] = ((b"Retry-After", b"5"),)
_FULL: Final = "The server has as many connections as it may (max_connections)."
_DRAINING: Final = "The server is shutting down."


class Newcomers:
    """What both dialects need to begin a session."""

    def __init__(
        self,
        settings: Settings,
        topics: Topics,
        delivery: Delivery,
        lifecycle: Lifecycle,
        entropy: Callable[[int], bytes],
    ) -> None:
        self.settings = settings
        self.topics = topics
        self.delivery = delivery
        self.lifecycle = lifecycle
        self.entropy = entropy
        self.draining = False

    def refuses(self, exchange: Exchange) -> bool:
        """There is no room for somebody new, and the request has been answered so."""
        if self.draining:
            self.delivery.answer(exchange, text_answer(503, _DRAINING, exchange.extra + _RETRY))
            return True
        if len(self.lifecycle.sessions) >= self.settings.max_connections:
            self.lifecycle.reactions["max_connections"] += 1
            self.delivery.answer(exchange, text_answer(503, _FULL, exchange.extra + _RETRY))
            return True
        return False


def refused(admission: Admission, extra: RawHeaders) -> tuple[Piece, ...]:
    """The answer to a request that is not let in."""
    if admission.reason:
        return text_answer(admission.status, admission.reason, extra)
    return empty_answer(admission.status, extra)
