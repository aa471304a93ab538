"""Reads what a server streams, out of bytes cut anywhere: by the specification, not by our own wire modules."""

from __future__ import annotations

import json
import re
from typing import Any, TypeAlias

__all__ = ["Envelope", "Frames", "check_envelope", "parse_envelope"]

Envelope: TypeAlias = dict[str, Any]

_ALLOWED = {"C": str, "M": list, "S": int, "T": int, "G": str, "L": int, "E": str}
_SCRIPT = re.compile(r"<script>[^<]*?\(\s*(\{.*?\})\s*\);?\s*</script>", re.DOTALL)


class Frames:
    """The texts in a stream of server-sent events, or of script elements (`scripts`).

    >>> frames = Frames()
    >>> frames.feed(b"data: init"), frames.feed(b"ialized\\n\\ndata: {}\\n\\n")
    ([], ['initialized', '{}'])
    >>> Frames(scripts=True).feed(b"<html><script>put({});</script>")
    ['{}']
    """

    __slots__ = ("_rest", "_scripts")

    def __init__(self, *, scripts: bool = False) -> None:
        self._scripts = scripts
        self._rest = ""

    def feed(self, data: bytes) -> list[str]:
        """The texts that these bytes complete. ASCII only, as this server's answers are."""
        text = self._rest + data.decode("ascii")
        if self._scripts:
            end = 0
            found = []
            for match in _SCRIPT.finditer(text):
                found.append(match[1])
                end = match.end()
            self._rest = text[end:]
            return found
        *events, self._rest = text.split("\n\n")
        return [event.removeprefix("data: ") for event in events if event.startswith("data: ")]


def parse_envelope(text: str | bytes) -> Envelope:
    """The JSON object in `text`; spaces before it are a long poll's keep-alives."""
    parsed = json.loads(text)
    if type(parsed) is not dict:
        raise ValueError(f"not an object: {text!r}")
    return parsed


def check_envelope(envelope: Envelope) -> None:
    """Raises ValueError for what the specification forbids in an envelope that is no keep-alive."""
    if not envelope.get("C"):
        raise ValueError("C is missing or empty")
    if "M" not in envelope:
        raise ValueError("M is missing")
    for key, value in envelope.items():
        kind = _ALLOWED.get(key)
        if kind is None:
            raise ValueError(f"unknown key {key!r}")
        if type(value) is not kind or (key in "ST" and value != 1):
            raise ValueError(f"{key} is {value!r}")
