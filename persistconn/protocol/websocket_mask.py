"""Undoes the masking of what WebSocket clients send (RFC 6455 §5.3), in C where a library for it is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, PathFinder
from importlib.util import module_from_spec
from typing import Final

from wsproto.frame_protocol import XorMaskerSimple

__all__ = ["mask_in_c", "unmask"]

_BIG_INTEGER_UP_TO: Final = 1_536
"""Up to here one XOR of two big integers unmasks faster than four strided translations."""

_TABLE_UP_TO: Final = 64
_ONES: Final = tuple(sum(1 << 32 * word for word in range(words + 1)) for words in range(_TABLE_UP_TO + 1))
"""A key times `_ONES[n]` is that key n + 1 times in a row: small frames need no bytes object for it."""


def _find_mask() -> Callable[[bytes, bytes], bytes] | None:
    """The masking in C that comes with `websockets`, where that is installed: payload, key.

    The package itself is not imported: it would bring sockets along.
    """
    package = PathFinder.find_spec("websockets")
    if package is None:
        return None
    spec = PathFinder.find_spec("websockets.speedups", package.submodule_search_locations)
    if spec is None or not isinstance(spec.loader, ExtensionFileLoader):
        return None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[bytes, bytes], bytes] = module.apply_mask
    return found


mask_in_c = _find_mask()
"""None where `websockets` is not installed: then `unmask` does it. At 64 bytes that takes twice as long, at 1 KiB eight
times."""


def unmask(masked: bytes) -> bytes:
    """Undo the client's masking (RFC 6455 §5.3) of a payload that stands behind its key of four bytes.

    >>> unmask(bytes.fromhex("37fa213d 7f9f4d5158"))
    b'Hello'
    """
    size = len(masked)
    words = (size - 1) >> 2
    if words <= _TABLE_UP_TO:
        number = int.from_bytes(masked, "little")
        return (number ^ (number & 0xFFFFFFFF) * _ONES[words]).to_bytes((words + 1) << 2, "little")[4:size]
    if size <= _BIG_INTEGER_UP_TO:
        keys = int.from_bytes(masked[:4] * (words + 1), "little")
        return (int.from_bytes(masked, "little") ^ keys).to_bytes((words + 1) << 2, "little")[4:size]
    return bytes(XorMaskerSimple(masked[:4]).process(bytearray(masked[4:])))
