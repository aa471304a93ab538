"""What a run of the simulation gives: a report, or the violation with what led to it."""

from __future__ import annotations

from dataclasses import dataclass

from .stories import Broken

__all__ = ["PromiseBroken", "SimulationReport"]


class PromiseBroken(AssertionError):
    """The simulation found a violation. `seed` and `step` say how to see it again, `trace` what led to it."""

    def __init__(self, seed: int, step: int, cause: BaseException, trace: list[str]) -> None:
        lines = "\n    ".join(trace)
        super().__init__(f"seed {seed}, step {step}: {type(cause).__name__}: {cause}\n    {lines}")
        self.seed = seed
        self.step = step
        self.cause = cause
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.seed, self.step, self.cause, self.trace)  # a pool of processes hands it on

    @property
    def rule(self) -> str:
        """The sentence of the promise that does not hold; or the kind of exception."""
        return self.cause.rule if isinstance(self.cause, Broken) else type(self.cause).__name__


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What happened in a run without a violation."""

    seed: int
    steps: int
    seconds: float
    """Of virtual time."""
    deliveries: int
    reconnects: int
    gaps: int
    """How often the application was told of a loss."""
    lost: int
    """Messages whose loss was told."""
    restarts: int
    transports: dict[str, int]
    """Receive requests let in, by transport; those of ASP.NET Core clients as `aspnetcore webSockets` and so on."""
    trace_hash: str
    """Of everything that happened, in order: equal for equal seeds."""
