"""Streams from the server, from the client, and both ways at once."""

from collections import deque
from collections.abc import AsyncIterator
from typing import ClassVar

import anyio

from persistconn import App
from persistconn.hubs import Hub, HubError


class ScaleHub(Hub):
    weighed: ClassVar[dict[str, list[float]]] = {}

    async def count_down(self, start: int) -> AsyncIterator[int]:
        """To the client: what is yielded."""
        if start > 100:
            raise HubError("At most from 100 on.")
        for number in range(start, 0, -1):
            yield number
            await anyio.sleep(0.01)

    async def record(self, scale: str, weights: AsyncIterator[float]) -> float:
        """From the client: what it sends, as long as it likes. The result comes when we return."""
        total = 0.0
        async for weight in weights:
            self.weighed.setdefault(scale, []).append(weight)
            total += weight
        return total

    async def smooth(self, weights: AsyncIterator[float], window: int) -> AsyncIterator[float]:
        """Both."""
        newest: deque[float] = deque(maxlen=window)
        async for weight in weights:
            newest.append(weight)
            yield sum(newest) / len(newest)


app = App()
app.add_hubs("/scales", ScaleHub)
