"""A contract for drivers: checks by which anything that drives the core, or serves an `App`, can be judged.

A driver is started by a function of yours: a context manager that is given a `Trial`, which has the endpoint and the
application (or the `App`) to serve at `/contract`, and gives the address, or a `Served` that also says how to drain.
The driver runs in this process, in a thread of its own. Each check starts one, holds conversations with it over real
sockets, in both dialects and on all transports, and raises ContractBroken with a sentence that says what to do::

    from persistconn.testing import driver_contract

    @contextmanager
    def my_server(trial):
        server = MyServer(trial.endpoint, trial.application)
        with server.running_in_a_thread():
            yield driver_contract.Served(("127.0.0.1", server.port), drain=server.drain)

    @pytest.mark.parametrize("check", driver_contract.CHECKS, ids=str)
    def test_my_server(check):
        check(my_server)

>>> from persistconn.testing import driver_contract
>>> [str(check) for check in driver_contract.CHECKS][:3]
['echo', 'order', 'broadcast']
>>> import contextlib, socket
>>> @contextlib.contextmanager
... def deaf(trial):
...     with socket.create_server(("127.0.0.1", 0)) as listener:  # and nobody accepts
...         yield listener.getsockname()
>>> driver_contract.CHECKS[0](deaf, patience=0.01)
Traceback (most recent call last):
...
persistconn.testing.driver_contract.check.ContractBroken: Let each client connect: open() every request, ...
"""

from __future__ import annotations

from typing import Final

from . import checks, timely
from .check import Check, ContractBroken, Served, Start
from .trial import Trial

__all__ = ["CHECKS", "Check", "ContractBroken", "Served", "Start", "Trial"]

CHECKS: Final[tuple[Check, ...]] = (*checks.CHECKS, *timely.CHECKS)
"""All there are. `str` of one is its name."""
