"""The state of a hub's client that travels with every call (classic §8.9)."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["State"]


class State(dict[str, Any]):
    """A dictionary that knows what has changed since the client sent it.

    >>> state = State(b'{"room": "red", "seen": [1]}')
    >>> state["seen"].append(2)
    >>> state.changes()
    {'seen': [1, 2]}
    """

    __slots__ = ("_sent",)

    def __init__(self, sent: bytes | None = None) -> None:
        """Raises msgspec.DecodeError when it is no object."""
        self._sent: dict[str, Any] = {}
        if sent is not None:
            super().__init__(msgspec.json.decode(sent, type=dict[str, Any]))
            self._sent = msgspec.json.decode(sent)

    def changes(self) -> dict[str, Any]:
        """The entries that are new or have another value; one that was deleted stays with the client."""
        return {key: value for key, value in self.items() if key not in self._sent or self._sent[key] != value}
