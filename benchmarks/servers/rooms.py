"""Who is connected where: at `/echo` a message comes back, at any other path it goes to all who are connected there."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

__all__ = ["ECHO", "rooms"]

ECHO = "/echo"

rooms: defaultdict[str, set[Any]] = defaultdict(set)
"""By path."""
