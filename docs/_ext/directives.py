"""Sphinx's side of `tables`: directives that put what is made from the code onto a page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click
import tables
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

__all__ = ["setup"]


class Made(SphinxDirective):
    """What they share: tables whose cells are text with `names` in it."""

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "made") -> nodes.Node:
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in heads), cols=len(heads))
        group += nodes.thead("", _row(heads))
        group += nodes.tbody("", *map(_row, rows))
        return nodes.table("", group, classes=[kind])


def _row(cells: Sequence[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *_text(cell))) for cell in cells))


def _text(cell: str) -> Iterator[nodes.Node]:
    """Names in backticks are code, words between stars stand out."""
    for part in re.split(r"(`[^`]+`|\*[^*]+\*)", cell):
        if part.startswith("`"):
            yield nodes.literal("", part.strip("`"))
        elif part.startswith("*"):
            yield nodes.emphasis("", part.strip("*"))
        elif part:
            yield nodes.Text(part)


class SettingsTable(Made):
    """All settings of one section, or of the one that is named."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        rows = dict(tables.settings())[self.arguments[0]]
        shown = []
        for row in rows:
            unit = {"s": " s", "bytes": " bytes"}.get(row.unit, "") if row.default not in ("None", "0") else ""
            reason = row.reason + (" *No effect yet.*" if row.name in tables.WITHOUT_EFFECT_YET else "")
            shown.append((f"`{row.name}`", f"{row.default}{unit}", reason))
        return [self.table(("setting", "default", "meaning"), shown, "settings")]


class StateDiagram(Made):
    """`link` or `app`: the drawing, then what the states mean."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        which = self.arguments[0]
        meanings = [(f"`{name}`", meaning) for name, meaning in tables.meanings(which)]
        drawing = nodes.raw("", tables.diagram(which), format="html")
        return [drawing, self.table(("state", "meaning"), meanings)]


class JointRules(Made):
    """How the two halves of a session act on each other."""

    def run(self) -> list[nodes.Node]:
        rows = [tuple(f"`{cell}`" for cell in row) for row in tables.joint_rules()]
        return [self.table(("link", "application", "then"), rows)]


class TimerTable(Made):
    """Every timer, its states and its length."""

    def run(self) -> list[nodes.Node]:
        rows = [(f"`{name}`", states, length, then) for name, states, length, then in tables.timers()]
        return [self.table(("timer", "armed in", "length", "when it goes off"), rows)]


class CommandHelp(Made):
    """The help of every command of `persistconn`."""

    def run(self) -> list[nodes.Node]:
        from persistconn.cli import main

        assert isinstance(main, click.Group)
        top = click.Context(main, info_name="persistconn", **main.context_settings)
        found: list[nodes.Node] = [_screen(main.get_help(top))]
        for name in main.list_commands(top):
            command = main.get_command(top, name)
            assert command is not None
            section = nodes.section(ids=[f"persistconn-{name}"])
            section += nodes.title("", "", nodes.literal("", f"persistconn {name}"))
            section += _screen(command.get_help(click.Context(command, info_name=name, parent=top)))
            found.append(section)
        return found


def _screen(text: str) -> nodes.Node:
    return nodes.literal_block(text, text, language="none")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("settings-table", SettingsTable)
    app.add_directive("state-diagram", StateDiagram)
    app.add_directive("joint-rules", JointRules)
    app.add_directive("timer-table", TimerTable)
    app.add_directive("command-help", CommandHelp)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
