"""What a seed decides about a world before it begins: the limits of its server."""

from __future__ import annotations

from random import Random

from ..settings import Settings

__all__ = ["draw_settings"]


def draw_settings(rng: Random) -> Settings:
    """Small rings and short times, so that every limit is met now and then."""
    disconnect_timeout = rng.choice((6.0, 8.0, 12.0))
    return Settings(
        keep_alive=2.0,
        ping_interval=2.0,
        client_timeout=3_600.0,
        poll_timeout=rng.choice((3.0, 5.0, 15.0)),
        allow_stateful_reconnect=True,
        disconnect_timeout=disconnect_timeout,
        disconnect_threshold=rng.choice((0.0, 2.0)),
        connection_timeout=rng.choice((5.0, 15.0)),
        transport_connect_timeout=3.0,
        groups_token_lifetime=rng.choice((None, 900.0)),
        ring_messages=rng.choice((32, 32, 48)),
        ring_bytes=rng.choice((16_384, 65_536, 1_048_576)),
        total_ring_bytes=rng.choice((131_072, 16_777_216)),
        ring_age=rng.choice((20.0, 60.0)),
        batch_messages=rng.choice((5, 40, 5_000)),
        write_deadline=rng.choice((4.0, 10.0)),
        slow_policy=rng.choice(("disconnect", "skip")),
        inbox_messages=rng.choice((1, 3, 64)),
        send_high_water=rng.choice((4, 256)),
    )
