"""For tests, yours and ours: the seeded simulation of a server and its clients, and written conversations."""

from __future__ import annotations

from .links import Weather
from .report import PromiseBroken, SimulationReport
from .simulation import Simulation

__all__ = ["PromiseBroken", "Simulation", "SimulationReport", "Weather"]
