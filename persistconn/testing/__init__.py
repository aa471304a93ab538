"""For tests, yours and ours: the seeded simulation of a server and its clients, and written conversations."""

from __future__ import annotations

from . import driver_contract
from .links import Weather
from .playbook import Line, Placeholder, Playbook
from .report import PromiseBroken, SimulationReport
from .simulation import Simulation

__all__ = [
    "Line",
    "Placeholder",
    "Playbook",
    "PromiseBroken",
    "Simulation",
    "SimulationReport",
    "Weather",
    "driver_contract",
]
