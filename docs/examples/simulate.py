"""Some seeds of the simulation, and what happened in them."""

from persistconn.testing import Simulation

for seed in range(5):
    report = Simulation(seed).run(steps=2_000)
    told = f"{report.reconnects} reconnects, {report.lost} messages lost and told"
    print(f"seed {seed}: {report.steps} steps, {told}")
