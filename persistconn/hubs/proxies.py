"""The script that makes a hub an object of the page, for the npm packages `jquery` and `signalr`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Final

from persistconn import ConfigurationError

from .names import HubShape, MethodShape

__all__ = ["TAKEN_NAMES", "disabled_script", "script"]

TAKEN_NAMES: Final = frozenset(
    # what jquery.signalR puts on $.signalR
    "_ ajaxDefaults changeState connectionState events fn hub isDisconnecting noConflict resources transports version "
    # what every function has
    "apply arguments bind call caller length name prototype "
    # what every object has
    "constructor hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf "
    "__defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__ __proto__".split()
)
"""Names of `$.connection` that are not free for a hub: `$.connection.hub`, say, is the connection."""

_PLACE: Final = re.compile("__(HUBS|PATH|ARTICLE_STYLE)__")
_NOT_IN_HTML: Final = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "<>&"})


def script(path: str, hubs: Iterable[HubShape], *, article_style: bool = True) -> str:
    """The JavaScript that gives a page `$.connection.<hub>` for each of `hubs`, and `$.connection.hub`.

    `path` is where the hubs are, as the page sees it: with the prefix of a proxy or of a mount, or a whole URL.
    With `article_style`, pages written for SignalR 0.5 work, too: a hub's methods are straight on the proxy, unless
    the proxy has another member of that name (`on`, `state`, …); functions of the page put there are called by the
    server; other members travel as state; the last argument may be a function that gets the result; and calls made
    before the start go out with it. All of it can be mixed with `.server`, `.client` and `.state`.

    The same hubs give the same text, in whatever order they come. It is fit to stand between script tags.

    Raises ConfigurationError when a hub or a method cannot have its name in JavaScript, or two have the same one.

    >>> hub = HubShape("MyHub", "myHub", (MethodShape("increment", "increment", ("value",)),))
    >>> print(script("/signalr", [hub]))  # doctest: +ELLIPSIS
    /*
    ...
      var hubs = {
        "myHub": {
          name: "MyHub",
          methods: {
            /**
             * myHub.increment(value)
             * @param value
             */
            "increment": "increment"
          }
        }
      };
    ...
      $.signalR.hub = $.hubConnection("/signalr", { useDefaultPath: false });
    ...
    """
    parts = {
        "PATH": _string(path.rstrip("/") or "/."),  # the library appends "/negotiate": "//negotiate" is another host
        "HUBS": _braces(map(_hub, _checked(hubs)), "  "),
        "ARTICLE_STYLE": "true" if article_style else "false",
    }
    return _PLACE.sub(lambda place: parts[place[1]], _template())


def disabled_script() -> str:
    """What stands in for the script where it is switched off: it tells the developer of the page so.

    >>> print(disabled_script(), end="")
    throw new Error("SignalR: JavaScript Hub proxy generation has been disabled.");
    """
    return 'throw new Error("SignalR: JavaScript Hub proxy generation has been disabled.");\n'


@cache
def _template() -> str:
    """JavaScript that is the same for all; `__HUBS__` and the like stand for what is not."""
    return resources.files("persistconn.hubs").joinpath("proxies.js").read_text("utf-8")


# What cannot be ---------------------------------------------------------------------------------


def _checked(hubs: Iterable[HubShape]) -> list[HubShape]:
    ordered = sorted(hubs, key=lambda hub: (hub.name, hub.script_name))
    seen: dict[str, HubShape] = {}
    for hub in ordered:
        if hub.script_name in TAKEN_NAMES:
            raise ConfigurationError(
                f"hub {hub.name!r} would be $.connection.{hub.script_name} in JavaScript, which is something else"
                " there: call it otherwise with @hub_name"
            )
        for name in {hub.name.lower(), f"$.connection.{hub.script_name}"}:
            other = seen.setdefault(name, hub)
            if other is not hub:
                raise ConfigurationError(
                    f"hubs {other.name!r} and {hub.name!r} would both be {name} for a client:"
                    " call one of them otherwise with @hub_name"
                )
    return ordered


def _checked_methods(hub: HubShape) -> list[MethodShape]:
    ordered = sorted(hub.methods, key=lambda method: (method.name, method.script_name))
    seen: dict[str, MethodShape] = {}
    for method in ordered:
        if method.script_name == "__proto__":
            raise ConfigurationError(
                f"method {method.name!r} of hub {hub.name!r} would be __proto__ in JavaScript, which is something else"
                " there: call it otherwise with @method_name"
            )
        other = seen.setdefault(method.script_name, method)
        if other is not method:
            raise ConfigurationError(
                f"methods {other.name!r} and {method.name!r} of hub {hub.name!r} would both be {method.script_name}"
                " in JavaScript: call one of them otherwise with @method_name"
            )
    return ordered


# What is written --------------------------------------------------------------------------------


def _hub(hub: HubShape) -> str:
    methods = _braces((_method(hub, method) for method in _checked_methods(hub)), "      ")
    return f"    {_string(hub.script_name)}: {{\n      name: {_string(hub.name)},\n      methods: {methods}\n    }}"


def _method(hub: HubShape, method: MethodShape) -> str:
    parameters = [_word(name) for name in method.parameters]
    lines = [
        "/**",
        f" * {_word(hub.script_name)}.{_word(method.script_name)}({', '.join(parameters)})",
        *(f" * @param {name}" for name in parameters),
        " */",
        f"{_string(method.script_name)}: {_string(method.name)}",
    ]
    return "\n".join(f"        {line}" for line in lines)


def _braces(entries: Iterable[str], indent: str) -> str:
    """An object literal that ends at this indentation."""
    text = ",\n".join(entries)
    return f"{{\n{text}\n{indent}}}" if text else "{}"


def _string(text: str) -> str:
    """A string of JavaScript that ends neither itself, nor its line, nor the script element around it.

    >>> print(_string("</script>"))
    "\\u003c/script\\u003e"
    """
    return json.dumps(text).translate(_NOT_IN_HTML)


def _word(name: str) -> str:
    """A name as it may stand in a comment, whatever it holds.

    >>> _word("größe"), _word("*/alert()")
    ('größe', '__alert__')
    """
    return re.sub(r"[^\w$]", "_", name)
