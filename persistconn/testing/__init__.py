"""For tests, yours and ours: a client without sockets, a server that does as it is told, the seeded simulation of a
server and its clients, and written conversations.

The names are imported when first used: the fixtures for pytest live here, and cost nothing where nobody uses them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import driver_contract as driver_contract
    from .blocking import BlockingClient as BlockingClient
    from .blocking import BlockingClientHub as BlockingClientHub
    from .blocking import BlockingFakeHub as BlockingFakeHub
    from .blocking import BlockingFakeServer as BlockingFakeServer
    from .call_log import Call as Call
    from .client import Client as Client
    from .client_hub import ClientHub as ClientHub
    from .dialing import Refused as Refused
    from .fake import FakeHub as FakeHub
    from .fake import FakeServer as FakeServer
    from .fake import fake_server as fake_server
    from .links import Weather as Weather
    from .playbook import Line as Line
    from .playbook import Placeholder as Placeholder
    from .playbook import Playbook as Playbook
    from .report import PromiseBroken as PromiseBroken
    from .report import SimulationReport as SimulationReport
    from .simulation import Simulation as Simulation

_HOMES = {
    "BlockingClient": "blocking",
    "BlockingClientHub": "blocking",
    "BlockingFakeHub": "blocking",
    "BlockingFakeServer": "blocking",
    "Call": "call_log",
    "Client": "client",
    "ClientHub": "client_hub",
    "FakeHub": "fake",
    "FakeServer": "fake",
    "Line": "playbook",
    "Placeholder": "playbook",
    "Playbook": "playbook",
    "PromiseBroken": "report",
    "Refused": "dialing",
    "Simulation": "simulation",
    "SimulationReport": "report",
    "Weather": "links",
    "fake_server": "fake",
}

__all__ = [
    "BlockingClient",
    "BlockingClientHub",
    "BlockingFakeHub",
    "BlockingFakeServer",
    "Call",
    "Client",
    "ClientHub",
    "FakeHub",
    "FakeServer",
    "Line",
    "Placeholder",
    "Playbook",
    "PromiseBroken",
    "Refused",
    "Simulation",
    "SimulationReport",
    "Weather",
    "driver_contract",
    "fake_server",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if name == "driver_contract":
        return import_module(".driver_contract", __name__)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
