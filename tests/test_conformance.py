"""The page on conformance has all its statements, and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "reference" / "conformance.md"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \|$", re.MULTILINE)

ROWS = [(int(number), what, shown_by) for number, what, shown_by in ROW.findall(PAGE.read_text(encoding="utf-8"))]


@cache
def of_module(module: str) -> frozenset[str]:
    tree = ast.parse((TESTS / module).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, functions) and node.name.startswith("test_"))


def test_there_are_70_statements() -> None:
    assert [number for number, _, _ in ROWS] == list(range(1, 71))


@pytest.mark.parametrize(("number", "what", "shown_by"), ROWS, ids=[str(number) for number, _, _ in ROWS])
def test_a_statement_is_shown_by_tests_or_says_why_not(number: int, what: str, shown_by: str) -> None:
    assert what.endswith((".", ".)"))
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", shown_by)
    assert named or shown_by.endswith("."), "it has to be a sentence"
    for module, name in named:
        assert name in of_module(module), f"{module} has no {name}"
