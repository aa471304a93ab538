"""What the core asks of a layer above that repeats what a lost socket may have swallowed (stateful reconnect)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Replay"]


class Replay(Protocol):
    """Keeps the frames that a client has not acknowledged; one per connection. The core calls it, so it must not raise.

    See `Connection.resume_with`.
    """

    @property
    def must_wait(self) -> bool:
        """Hand out no more numbered frames until `Connection.go_on_sending`."""
        ...

    def track(self, frame: bytes) -> None:
        """This numbered frame is being written."""

    def lost(self) -> None:
        """The socket has gone without a goodbye; its client may come back."""

    def resume(self) -> Sequence[bytes]:
        """A new socket carries the connection: what is to be written on it before anything else."""
        ...
