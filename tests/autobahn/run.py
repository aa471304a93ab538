"""Let Autobahn's fuzzing client judge our server, on each backend at the same time.

    python -m tests.autobahn.run PATH/TO/wstest [--out FOLDER]

Exit code 0: all cases ran and all are well.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.autobahn.report import CASES, EXPECTED, complaints

ROOT = Path(__file__).resolve().parent.parent.parent
BACKENDS = ("asyncio", "trio")
BUDGET = 240
"""Seconds after which a run is given up."""


class Run:
    """One echo server and the fuzzing client that talks to it."""

    def __init__(self, backend: str, wstest: str, out: Path) -> None:
        self.agent = f"persistconn-{backend}"
        self.folder = out / backend
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log = (self.folder / "server.log").open("w")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.autobahn.echo", backend],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
        )
        assert self._server.stdout is not None
        port = int(self._server.stdout.readline())
        spec = {
            "outdir": str(self.folder),
            "servers": [{"agent": self.agent, "url": f"ws://127.0.0.1:{port}"}],
            "cases": CASES,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        spec_file = self.folder / "spec.json"
        spec_file.write_text(json.dumps(spec))
        self._output = (self.folder / "wstest.log").open("w")
        self._client = subprocess.Popen(
            [wstest, "-m", "fuzzingclient", "-s", str(spec_file)],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": ""},
        )

    def complaints(self) -> list[str]:
        """Wait until it is over; what is wrong with it."""
        self._client.wait(BUDGET)
        if self._client.returncode or not (self.folder / "index.json").exists():
            return [f"{self.agent}: wstest ended with {self._client.returncode}: {self._tail('wstest.log')}"]
        index = json.loads((self.folder / "index.json").read_text())
        found = list(complaints(index, [self.agent]))
        if self._server.poll() is not None:
            found.append(f"{self.agent}: the server died")
        logged = self._tail("server.log")
        return [*found, f"{self.agent}: the server logged {logged}"] if logged else found

    def _tail(self, name: str) -> str:
        return (self.folder / name).read_text()[-2000:]

    def end(self) -> None:
        for process in (self._client, self._server):
            process.terminate()
            process.wait(10)
        self._log.close()
        self._output.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Autobahn's fuzzing client against persistconn")
    parser.add_argument("wstest")
    parser.add_argument("--out", type=Path, help="where the reports go (HTML, too)")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        out = (arguments.out or Path(temporary)).resolve()
        runs: list[Run] = []
        found: list[str] = []
        try:
            runs.extend(Run(backend, arguments.wstest, out) for backend in BACKENDS)
            for run in runs:
                found += run.complaints()
        finally:
            for run in runs:
                run.end()
    for line in found:
        print(line)
    verdict = "not as it should be" if found else "0 FAILED, 0 NON-STRICT"
    seconds = time.monotonic() - began
    print(f"Autobahn: {EXPECTED} cases each on {' and '.join(BACKENDS)}: {verdict} ({seconds:.0f} s)")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
