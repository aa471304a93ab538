"""Everything that has to hold, by name: `nox` runs it all, `nox -s tests` runs one part.

Arguments after `--` go to the tool: `nox -s tests -- -k groups`.
In an environment where all real parts must be there (browser, Node.js, Python 2.7), set REQUIRE_REAL_PARTS=1:
what would be skipped then fails.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.parallel = 2  # sessions of one process run side by side; the others use both cores themselves
nox.options.error_on_missing_interpreters = True
nox.options.sessions = [
    "lint",
    "types",
    "tests",
    "coverage",
    "simulate",
    "interop",
    "autobahn",
    "docs",
    "build",
]

HERE = Path(__file__).parent
REQUIRED = os.environ.get("REQUIRE_REAL_PARTS", "") not in ("", "0")
PURE_HUBS = [
    *("aspnetcore_json", "aspnetcore_messagepack", "calls", "classic", "failures", "handshake", "ids", "json_text"),
    *("messagepack_values", "messages", "replay", "session", "stages"),
]
PURE_TESTS = ["tests/test_errors.py", "tests/test_settings.py", "tests/wire", "tests/bus", "tests/protocol"]
PURE_TESTS += [str(path) for name in PURE_HUBS if (path := Path(f"tests/hubs/test_{name}.py")).exists()]
PURE_ZONE = [
    "persistconn/errors.py",
    "persistconn/settings.py",
    "persistconn/wire/*",
    "persistconn/bus/*",
    "persistconn/protocol/*",
    *(f"persistconn/hubs/{name}.py" for name in PURE_HUBS),
]


def skip_or_fail(session: nox.Session, reason: str) -> None:
    """Something real is missing: a message for people, a failure where it is required."""
    if REQUIRED:
        session.error(f"{reason} REQUIRE_REAL_PARTS is set, so this is a failure.")
    session.skip(reason)


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite and the doctests, on asyncio, uvloop and trio."""
    session.install("-e", ".[frameworks,test]")
    apart = ["interop", "simulation", "autobahn"]
    ignored = [f"--ignore=tests/{name}" for name in apart if name != "autobahn"]
    session.run("pytest", "-n", "2", *ignored, "-m", " and ".join(f"not {name}" for name in apart), *session.posargs)


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """ruff: format and lint."""
    session.install("ruff>=0.9")
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")


@nox.session(allow_parallel=True)
def types(session: nox.Session) -> None:
    """mypy strict and pyright inside, and both on a user's program; nothing public has an unknown type."""
    session.install("-e", ".[types]")
    session.run("mypy")
    session.run("mypy", "tests/typing/public_face.py", "tests/typing/hubs_face.py")
    quiet = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    session.run("pyright", env=quiet)
    options = ["--verifytypes", "persistconn", "--ignoreexternal", "--outputjson"]
    # It also fails on attributes whose type is inferred; mypy strict has those in hand, so we read the report.
    report = session.run("pyright", *options, env=quiet, silent=True, success_codes=[0, 1])
    if isinstance(report, str):
        _judge_public_types(session, report)


def _judge_public_types(session: nox.Session, report: str) -> None:
    completeness = json.loads(report[report.index("{") :])["typeCompleteness"]
    exported = [symbol for symbol in completeness["symbols"] if symbol["isExported"]]
    if len(exported) < 100:
        session.error("pyright does not see the package: is py.typed installed?")
    unknown = [symbol["name"] for symbol in exported if not (symbol["isTypeKnown"] or symbol["isTypeAmbiguous"])]
    if unknown:
        session.error(f"public, and of unknown type: {', '.join(unknown)}")
    session.log(f"{len(exported)} public symbols, none of unknown type.")


@nox.session(allow_parallel=True)
def coverage(session: nox.Session) -> None:
    """Every line and branch of the pure zone, from its own tests alone."""
    session.install("-e", ".[test]")
    include = f"--include={','.join(PURE_ZONE)}"
    session.run("coverage", "run", include, "-m", "pytest", "-q", *PURE_TESTS, *session.posargs)
    session.run("coverage", "report", include, "--fail-under=100")


@nox.session
def simulate(session: nox.Session) -> None:
    """The seeded simulation: clients, links that fail and a clock that jumps, judged by an oracle."""
    session.install("-e", ".[test]")
    session.run("pytest", "tests/simulation", *session.posargs)  # the long run takes two processes by itself


@nox.session
def interop(session: nox.Session) -> None:
    """Unmodified foreign clients, jquery.signalR in Chromium among them, against our server."""
    _install_real_parts(session)
    # Two backends and two families of clients, side by side.
    session.run("pytest", "-n", "4", "--dist", "loadgroup", "tests/interop", *session.posargs)


@nox.session
def hosts(session: nox.Session) -> None:
    """The suites of `interop` on every ASGI server, at the root and in Starlette. Not part of `nox`: it takes an hour.

    `nox -s hosts -- granian daphne/prefix` runs some; what begins with `-` and all behind it goes to pytest.
    """
    _install_real_parts(session)
    wanted = list(itertools.takewhile(lambda each: not each.startswith("-"), session.posargs))
    options = session.posargs[len(wanted) :]
    known = session.run("python", "-m", "tests.interop.hosts", silent=True)
    every = [(host, mount) for host in str(known).split() for mount in ("", "/prefix")]
    chosen = [(host, mount) for host, mount in every if not wanted or {host, f"{host}{mount or '/'}"} & set(wanted)]
    if not chosen:
        session.error(f"{' '.join(wanted)}: has to be hosts, as daphne, or places on them, as daphne/prefix.\n{known}")
    tally = Path(session.create_tmp()).resolve() / "tally.jsonl"
    tally.unlink(missing_ok=True)
    for host, mount in chosen:
        place = ["--host", host, "--mount", mount, "--tally", str(tally)]
        # 1: tests have failed, which the table says; then the others are run nevertheless.
        session.run(
            *("pytest", "-n", "2", "--dist", "loadgroup", "tests/interop", *place, *options), success_codes=[0, 1]
        )
    _judge_hosts(session, [json.loads(line) for line in tally.read_text().splitlines()])


def _judge_hosts(session: nox.Session, rows: list[dict[str, Any]]) -> None:
    columns = ("host", "mount", "passed", "failed", "error", "xfailed", "skipped", "left_out", "seconds")
    table = [columns, *([str(row[column]) or "/" for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        session.log("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
    if any(row["failed"] or row["error"] for row in rows):
        session.error("Some tests have failed.")


def _install_real_parts(session: nox.Session) -> None:
    """Clients of Node.js, and the programs that only a system's package manager has."""
    session.install("-e", ".[interop]")
    if shutil.which("npm") is None:
        skip_or_fail(session, "npm is missing: install Node.js, for example Debian's nodejs and npm.")
    lock, installed = HERE / "tests/interop/package-lock.json", HERE / "tests/interop/node_modules/.package-lock.json"
    lent = installed.parent.is_symlink()  # `npm ci` would empty what it leads to, which is somebody else's
    if not lent and (not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime):
        with session.chdir("tests/interop"):
            session.run_install("npm", "ci", "--no-audit", "--no-fund", external=True)
        installed.touch()
    _need_programs(session)


def _need_programs(session: nox.Session) -> None:
    """In a container (root, Debian) we install what is missing; a person's machine is left alone, with a message."""
    path = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"  # where Debian puts proxies
    missing = [program for program in ("chromium", "haproxy", "nginx") if shutil.which(program, path=path) is None]
    if missing and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # RUNLEVEL: install, do not start
        session.run_install("apt-get", "-qq", "update", external=True, env=quiet)
        session.run_install(
            *("apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing), external=True, env=quiet
        )
    elif missing:
        names = " and ".join(missing)
        skip_or_fail(session, f"{names} missing: install, for example `sudo apt-get install {' '.join(missing)}`.")


@nox.session
def autobahn(session: nox.Session) -> None:
    """The Autobahn WebSocket test suite (it needs a Python 2.7) against our server on asyncio and on trio."""
    session.install("-e", ".[trio]", "virtualenv==16.7.12")
    python27 = _find_python27()
    if python27 is None:
        skip_or_fail(session, "The Autobahn test suite needs Python 2.7, and there is none.")
    home = Path(session.virtualenv.location) / "python2.7"
    wstest = home / "bin" / "wstest"
    if not wstest.exists():
        session.run_install("virtualenv", "-q", "-p", str(python27), str(home))
        pip = str(home / "bin" / "pip")
        quiet = {"PYTHONWARNINGS": "ignore", "PIP_NO_PYTHON_VERSION_WARNING": "1"}
        session.run_install(
            *(pip, "install", "-q", "--no-deps", "-r", "tests/autobahn/requirements.txt"), env=quiet, external=True
        )
    session.run("python", "-m", "tests.autobahn.run", str(wstest), *session.posargs)


def _find_python27() -> Path | None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which("python2.7"), *sorted(pyenv.glob("versions/2.7*/bin/python2.7"))]
    for candidate in candidates:
        if candidate is not None:
            asked = subprocess.run(
                [candidate, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True
            )
            if asked.returncode == 0:  # a shim of pyenv may stand for nothing
                return Path(asked.stdout.strip())
    return None


@nox.session(allow_parallel=True)
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks. Not part of `nox`: numbers are for people to compare."""
    session.install("-e", ".[trio,uvloop,speed,bench]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(allow_parallel=True)
def build(session: nox.Session) -> None:
    """The wheel and the source archive; the wheel works by itself, from an empty folder."""
    session.install("build", "hatchling")
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    built = session.run("python", "-m", "build", "-q", "--no-isolation", "--outdir", str(dist), str(HERE))
    if built is None:
        return  # nox --install-only
    (wheel,) = dist.glob("persistconn-*.whl")
    fresh = dist.parent / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    session.run(sys.executable, "-m", "venv", str(fresh), external=True)
    scripts = fresh / ("Scripts" if os.name == "nt" else "bin")
    session.run(str(scripts / "python"), "-m", "pip", "install", "-q", str(wheel), external=True)
    empty = dist.parent / "empty"
    empty.mkdir(exist_ok=True)
    with session.chdir(empty):
        check = "import persistconn; [getattr(persistconn, name) for name in persistconn.__all__]"
        session.run(str(scripts / "python"), "-W", "error", "-c", check, external=True)
        session.run(str(scripts / "persistconn"), "--version", external=True)
        session.run(str(scripts / "python"), "-m", "persistconn", "--help", external=True, silent=True)
