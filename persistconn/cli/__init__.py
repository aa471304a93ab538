"""The command `persistconn` and its subcommands, each loaded when it is used."""

from __future__ import annotations

import importlib
from typing import Final

import click

from persistconn import __version__

__all__ = ["main"]

COMMANDS: Final = {
    "demo": "persistconn.cli.demo",
    "hubs": "persistconn.cli.hubs",
    "serve": "persistconn.cli.serve",
}
"""Where each subcommand is; the module has it under the same name."""


class _LazyGroup(click.Group):
    """Imports a subcommand when it is asked for: `--version` should not import a server."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return command


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="persistconn", message="%(prog)s %(version)s")
def main() -> None:
    """Persistent connections that speak SignalR's wire.

    `persistconn demo` shows a chat; `persistconn serve MODULE:APP` serves an app of yours;
    `persistconn hubs MODULE:APP` writes the script for its hubs.
    """
