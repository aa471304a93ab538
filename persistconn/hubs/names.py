"""What hubs and their methods are called: in Python, on the wire and in JavaScript."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HubShape", "MethodShape", "camel_case", "spellings"]


@dataclass(frozen=True, slots=True)
class MethodShape:
    """A method as clients see it.

    >>> MethodShape("addMessage", "addMessage", ("text",)).parameters
    ('text',)
    """

    name: str
    """What goes over the wire, exactly."""
    script_name: str
    """What the generated script calls it."""
    parameters: tuple[str, ...] = ()
    """The names of its parameters, for whoever reads the script."""


@dataclass(frozen=True, slots=True)
class HubShape:
    """A hub as clients see it.

    >>> HubShape("ChatHub", "chatHub", ()).script_name
    'chatHub'
    """

    name: str
    """What goes over the wire, exactly; clients may spell it in any case."""
    script_name: str
    """What the generated script calls it."""
    methods: tuple[MethodShape, ...]


def camel_case(name: str) -> str:
    """A Python name, or a .NET one, as JavaScript spells it.

    >>> camel_case("void_function_with_params"), camel_case("MyHub"), camel_case("ask2")
    ('voidFunctionWithParams', 'myHub', 'ask2')
    """
    first, *rest = name.split("_") if not name.startswith("_") else [name]
    return first[:1].lower() + first[1:] + "".join(word[:1].upper() + word[1:] for word in rest)


def spellings(name: str) -> tuple[str, ...]:
    """The keys under which a Python name is found; look-ups ignore case (classic §8.1), so keys are lower-case.

    >>> spellings("void_function"), spellings("ask")
    (('void_function', 'voidfunction'), ('ask',))
    """
    as_written = name.lower()
    joined = camel_case(name).lower()
    return (as_written,) if joined == as_written else (as_written, joined)
