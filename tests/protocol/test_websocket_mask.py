"""Masking: what a client has masked is read again, by whichever way suits its size."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from persistconn.protocol import websocket_mask
from persistconn.protocol.websocket_mask import unmask

KEY = b"\x37\xfa\x21\x3d"


@pytest.mark.parametrize("size", [0, 1, 4, 5, 64, 255, 256, 257, 258, 1_535, 5_000])
def test_unmasking_is_an_xor_with_the_repeated_key(size: int) -> None:
    payload = bytes(index * 7 % 256 for index in range(size))
    assert unmask(KEY + payload) == bytes(byte ^ KEY[index % 4] for index, byte in enumerate(payload))


@pytest.mark.parametrize("size", [0, 1, 5, 64, 257, 5_000])
def test_the_library_in_c_gives_the_same(size: int) -> None:
    if websocket_mask.mask_in_c is None:
        pytest.skip("the C part of websockets is not installed")
    payload = bytes(index * 7 % 256 for index in range(size))
    assert websocket_mask.mask_in_c(payload, KEY) == unmask(KEY + payload)


@pytest.mark.parametrize("known", [{}, {"websockets": ModuleSpec("websockets", None)}])
def test_without_the_library_masking_is_undone_in_python(monkeypatch: pytest.MonkeyPatch, known: Any) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, path: Any = None) -> ModuleSpec | None:
            return known.get(name)

    monkeypatch.setattr(websocket_mask, "PathFinder", Finder)
    assert websocket_mask._find_mask() is None


def test_the_library_is_used_where_it_is_installed() -> None:
    if websocket_mask.mask_in_c is None:
        pytest.skip("the C part of websockets is not installed")
    assert type(websocket_mask.mask_in_c).__name__ == "builtin_function_or_method"
