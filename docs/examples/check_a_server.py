"""For pytest: does the server on bare threads keep the contract of drivers?"""

import socket
import threading
from contextlib import contextmanager

import pytest
from threads_server import ThreadsServer

from persistconn.testing import driver_contract


@contextmanager
def a_server(trial):
    server = ThreadsServer(trial.endpoint, trial.application)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
        yield driver_contract.Served(listener.getsockname(), drain=server.shut_down)
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("check", driver_contract.CHECKS, ids=str)
def test_a_server(check):
    check(a_server)
