"""Tables and drawings that are made from the code, so that they cannot be wrong. Needs nothing but persistconn."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from html import escape
from math import hypot
from pathlib import Path

from persistconn import settings as settings_module
from persistconn.protocol.session import APP, JOINT, LINK, TIMERS, App, Link

__all__ = ["TIMER_MEANINGS", "WITHOUT_EFFECT_YET", "Setting", "diagram", "joint_rules", "moves", "settings", "timers"]


# Settings ---------------------------------------------------------------------------------------

WITHOUT_EFFECT_YET: tuple[str, ...] = ()
"""They belong to what is planned."""


@dataclass(frozen=True)
class Setting:
    """One field of Settings, as its source describes it."""

    name: str
    default: str
    unit: str
    reason: str


def settings() -> list[tuple[str, list[Setting]]]:
    """Every field of Settings, in its sections: the comments that divide the source."""
    source = Path(settings_module.__file__).read_text(encoding="utf-8")
    lines = source.splitlines()
    owner = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    sections: list[tuple[str, list[Setting]]] = []
    place = owner.lineno
    for node, after in zip(owner.body, owner.body[1:], strict=False):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        for line in lines[place : node.lineno]:
            title = re.match(r"    # (.*?) -+$", line)
            if title:
                sections.append((title[1], []))
        place = node.lineno
        reason = ast.get_docstring(ast.Module([after], [])) or ""
        kind = ast.unparse(node.annotation)
        default = "" if node.value is None else _shown(ast.literal_eval(node.value))
        sections[-1][1].append(Setting(node.target.id, default, _unit(node.target.id, kind), " ".join(reason.split())))
    return sections


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _unit(name: str, kind: str) -> str:
    if "float" in kind:
        return "s"
    if "bool" in kind:
        return "yes/no"
    if "Literal" in kind:
        return "word"
    return "bytes" if name.endswith(("_size", "_bytes")) else "count"


# Sessions ---------------------------------------------------------------------------------------

TIMER_MEANINGS = {
    "disconnect": (
        "`disconnect_timeout`, and `disconnect_threshold` on streaming transports",
        "The connection ends with `timed_out`.",
    ),
    "pulse": (
        "`keep_alive`, or `write_deadline` if that is shorter",
        "A sign of life leaves. Whoever has not taken the last write is watched from now on: `write` is armed. "
        "A WebSocket that answered no ping since four signs of life is given up as lost.",
    ),
    "poll": (
        "`connection_timeout`",
        "A long poll is answered empty. (With `keep_alive` off, every transport is ended and comes back.)",
    ),
    "write": (
        "`write_deadline`",
        "The write is still under way: `slow_policy` decides.",
    ),
    "groups": (
        "`groups_token_lifetime` ÷ 2.5",
        "A new groups token is sent, well before the old one expires.",
    ),
}


def moves(which: str) -> list[tuple[str, str, str]]:
    """(state, what happens, next state) of a table."""
    return [(before.name, what.name, after.name) for (before, what), after in _TABLES[which].items()]


def meanings(which: str) -> list[tuple[str, str]]:
    """(state, what it means)."""
    return [(state.name, str(state.value)) for state in _STATES[which]]


def joint_rules() -> list[tuple[str, str, str]]:
    """(link, application, what the application's side does then)."""
    return [(link.name, app.name, what.name) for (link, app), what in JOINT.items()]


def timers() -> list[tuple[str, str, str, str]]:
    """(timer, states in which it may be armed, how long, what then)."""
    rows = []
    for name, (how_long, then) in TIMER_MEANINGS.items():
        states = [link.name for link, names in TIMERS.items() if name in names]
        rows.append((name, ", ".join(states) or "all but GONE", how_long, then))
    return rows


# Drawings ---------------------------------------------------------------------------------------

_TABLES: Mapping[str, Mapping[tuple[Enum, Enum], Enum]] = {"link": LINK, "app": APP}
_STATES: Mapping[str, type[Enum]] = {"link": Link, "app": App}
_PLACES = {
    "link": {"IDLE": (70, 105), "ATTACHED": (370, 105), "DETACHED": (690, 105), "GONE": (370, 285)},
    "app": {"UNBORN": (60, 40), "STARTING": (255, 40), "LIVE": (450, 40), "ENDING": (645, 40), "DEAD": (840, 40)},
}
_BENDS = {("UNBORN", "DEAD"): -75.0, ("ATTACHED", "DETACHED"): 14.0, ("DETACHED", "ATTACHED"): 14.0}
_SIZES = {"link": (760, 320), "app": (905, 150)}
_CAPTIONS = {"link": "Is anybody on the line?", "app": "What has the application been told?"}
_HALF = (52, 19)


def diagram(which: str) -> str:
    """A table as an SVG drawing in a figure."""
    places = _PLACES[which]
    width, height = _SIZES[which]
    inputs: dict[tuple[str, str], list[str]] = {}
    for before, what, after in moves(which):
        inputs.setdefault((before, after), []).append(what)
    drawn = [_move(places, before, after, whats) for (before, after), whats in inputs.items()]
    leaving = {before for before, _, _ in moves(which)}
    boxes = [_state(name, places[name], name not in leaving) for name, _ in meanings(which)]
    caption = escape(_CAPTIONS[which])
    return (
        f'<figure class="states"><svg viewBox="0 0 {width} {height}" role="img" aria-label="{caption}">'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>'
        f"{''.join(drawn)}{''.join(boxes)}</svg><figcaption>{caption}</figcaption></figure>"
    )


def _state(name: str, place: tuple[int, int], is_end: bool) -> str:
    x, y = place
    kind = "state end" if is_end else "state"
    box = f'<rect class="{kind}" x="{x - _HALF[0]}" y="{y - _HALF[1]}" width="104" height="38" rx="9"/>'
    return f'{box}<text class="name" x="{x}" y="{y + 5}">{name}</text>'


def _move(places: Mapping[str, tuple[int, int]], before: str, after: str, whats: list[str]) -> str:
    (x1, y1), (x2, y2) = places[before], places[after]
    if before == after:
        path = f"M{x1 - 18} {y1 - _HALF[1]}C{x1 - 46} {y1 - 72} {x1 + 46} {y1 - 72} {x1 + 18} {y1 - _HALF[1]}"
        return _arrow(path, x1, y1 - 66, whats)
    length = hypot(x2 - x1, y2 - y1)
    bend = _BENDS.get((before, after), 0.0)
    # The control point of the curve: to the left of the middle of the straight line, as one walks it.
    cx = (x1 + x2) / 2 + (y2 - y1) / length * bend * 2
    cy = (y1 + y2) / 2 - (x2 - x1) / length * bend * 2
    ax, ay = _border(x1, y1, cx, cy)
    bx, by = _border(x2, y2, cx, cy)
    mx, my = (ax + bx) / 4 + cx / 2, (ay + by) / 4 + cy / 2
    return _arrow(f"M{ax:.0f} {ay:.0f}Q{cx:.0f} {cy:.0f} {bx:.0f} {by:.0f}", mx, my, whats)


def _border(x: float, y: float, towards_x: float, towards_y: float) -> tuple[float, float]:
    """Where a line from the middle of a box leaves it."""
    dx, dy = towards_x - x, towards_y - y
    factor = min(part / abs(d) for part, d in zip((_HALF[0] + 2, _HALF[1] + 2), (dx, dy), strict=True) if d)
    return x + dx * factor, y + dy * factor


def _arrow(path: str, x: float, y: float, whats: list[str]) -> str:
    first = y - 5 - 6.5 * (len(whats) - 1) + (7 if len(whats) > 1 else 0)
    labels = "".join(
        f'<text class="what" x="{x:.0f}" y="{first + 13 * row:.0f}">{escape(what)}</text>'
        for row, what in enumerate(whats)
    )
    return f'<path class="move" d="{path}" marker-end="url(#tip)"/>{labels}'
