"""`persistconn hubs MODULE:APP`: the generated JavaScript as a file, for pages that are not served by the app."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Protocol, cast

import click

from persistconn import ConfigurationError

from .loading import Refused, load_app

__all__ = ["hubs"]


class _HasHubs(Protocol):
    def hub_scripts(self) -> dict[str, str]:
        """The script of each mount of hubs."""
        ...


@click.command()
@click.argument("target", metavar="MODULE:APP")
@click.option("--out", required=True, metavar="FILE", help="Where to write it; - is the standard output.")
@click.option("--path", metavar="PATH", help="Which hubs, where the app has some at several paths.")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if FILE is not what would be written.")
def hubs(target: str, out: str, path: str | None, check: bool) -> None:
    """Write the JavaScript for the hubs of APP in MODULE, which may be in the current folder.

    \b
        persistconn hubs chat:app --out static/hubs.js

    It is the script that the app itself serves at /signalr/hubs. Load jQuery and jquery.signalR before it.
    """
    if out == "-" and check:
        raise Refused("--check compares a file: it cannot go with --out -.")
    if out.endswith(".ts"):
        raise Refused(f"{out} is TypeScript, and what there is to write is JavaScript: name a file that ends in .js.")
    app = cast("_HasHubs", load_app(target))
    try:
        mount, text = _choose(app.hub_scripts(), target, path)
        content = (text.rstrip("\n") + "\n").encode()
        if out == "-":
            click.echo(content, nl=False)
        elif check:
            _compare(Path(out), content)
        else:
            Path(out).write_bytes(content)
            click.echo(f"{out}: the hubs at {mount} ({len(content):,} bytes)")
    except (ConfigurationError, OSError) as error:
        raise Refused(str(error)) from error


def _choose(scripts: dict[str, str], target: str, path: str | None) -> tuple[str, str]:
    """The mount that is meant, and its script."""
    mounts = ", ".join(sorted(scripts))
    if not scripts:
        raise Refused(f"{target} has no hubs: it needs app.add_hubs(…).")
    if path is None and len(scripts) > 1:
        raise Refused(f"{target} has hubs at several paths: choose one of {mounts} with --path.")
    for mount, text in scripts.items():
        if path is None or mount.rstrip("/") == path.rstrip("/"):
            return mount, text
    raise Refused(f"{target} has no hubs at {path}, but at {mounts}.")


def _compare(file: Path, content: bytes) -> None:
    """Exit with 1 unless the file is just that."""
    there = file.read_bytes() if file.exists() else None
    if there != content:
        why = "is not there" if there is None else "is not what the app has now"
        click.echo(f"{file} {why}: write it with `persistconn hubs`, without --check.", err=True)
        sys.exit(1)
    click.echo(f"{file} is up to date")
