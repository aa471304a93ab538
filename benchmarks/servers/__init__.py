"""The contenders: `python -m benchmarks.servers.NAME` prints its port and serves until it is killed."""
