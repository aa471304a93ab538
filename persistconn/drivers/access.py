"""One log line per exchange, at its end, without the secrets that travel in URLs."""

from __future__ import annotations

import logging
from typing import Final
from urllib.parse import parse_qsl, quote

from ..protocol.exchange import Exchange
from ..wire.http import Request

__all__ = ["AccessLog", "loggable"]

# Everything else in a query is a token, an id or somebody's message.
SHOWN: Final = frozenset({"transport", "clientProtocol"})


def loggable(request: Request) -> str:
    """The request's path and query, fit for a log: no value but harmless ones, no control characters.

    >>> loggable(Request("GET", "/echo/connect", "transport=x&connectionToken=s3cr3t"))
    '/echo/connect?transport=x&connectionToken=…'
    """
    path = quote(request.path, safe="/!$&'()*+,;=:@~")
    if not request.query_string:
        return path
    pairs = parse_qsl(request.query_string, keep_blank_values=True, errors="replace")
    return path + "?" + "&".join(f"{quote(name)}={quote(value) if name in SHOWN else '…'}" for name, value in pairs)


class AccessLog:
    """Writes to the logger `persistconn.access`: client, request, status, bytes sent, seconds.

    >>> AccessLog(enabled=False).wanted
    False
    """

    __slots__ = ("_logger", "enabled")

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        """Lines are made at all; whether one goes anywhere is for `logging` to say."""
        self._logger = logging.getLogger("persistconn.access")

    @property
    def wanted(self) -> bool:
        """Whether a line would go anywhere; ask before making one."""
        return self.enabled and self._logger.isEnabledFor(logging.INFO)

    def exchange(
        self,
        request: Request,
        status: int | None,
        sent: int,
        duration: float,
        *,
        cut: bool,
        exchange: Exchange | None = None,
    ) -> None:
        """One exchange is over; `status` is None when no answer ever left, `cut` when it did not end by itself.

        `exchange` says which connection it belonged to, if to any.
        """
        if self.enabled and self._logger.isEnabledFor(logging.INFO):
            self._logger.info(
                '%s "%s %s" %s %d %.3f%s',
                _address(request.client),
                quote(request.method),
                loggable(request),
                "-" if status is None else status,
                sent,
                duration,
                " cut" if cut else "",
                extra=None if exchange is None else exchange.log_extra,
            )

    def refused(self, client: tuple[str, int] | None, why: str) -> None:
        """A peer was turned away before it had made a request that could be answered."""
        if self.wanted:
            self._logger.info("%s refused: %s", _address(client), why)


def _address(client: tuple[str, int] | None) -> str:
    if client is None:
        return "-"
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
