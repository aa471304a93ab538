"""Limits for what one client may call."""

from persistconn import App, Settings
from persistconn.hubs import Hub


class SearchHub(Hub):
    async def find(self, *words: str) -> int:
        return len(words)


limits = Settings(
    max_parallel_calls=4,
    max_call_rate=20,
    max_call_arguments=8,
    max_argument_size=1_000,
    max_state_size=1_000,
)
app = App(settings=limits)
app.add_hubs("/signalr", SearchHub)
