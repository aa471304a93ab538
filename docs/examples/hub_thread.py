"""The hub of the article, whose clients are called by a thread that has no event loop."""

import sys
import threading

import anyio
from my_hub import MyHub, app

from persistconn import PersistconnError, serve


def read_lines() -> None:
    for line in sys.stdin:
        try:
            app.from_thread.run(app.clients(MyHub).all.alert_message, line.strip())
        except PersistconnError:
            return  # the server has stopped


if __name__ == "__main__":
    threading.Thread(target=read_lines, daemon=True).start()
    anyio.run(serve, app)
