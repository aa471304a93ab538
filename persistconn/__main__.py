"""`python -m persistconn` is `persistconn`."""

from __future__ import annotations

from persistconn.cli import main

if __name__ == "__main__":
    main(prog_name="persistconn")
