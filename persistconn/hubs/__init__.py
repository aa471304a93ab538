"""Methods instead of messages: call Python from a page, and functions of the page from Python."""

from __future__ import annotations

__all__: list[str] = []
