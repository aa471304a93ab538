"""Prices that a task beside the server changes; pages watch them, and may open and close the market."""

import random
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.abc import TaskStatus
from hub_pages import add_hub_page

from persistconn import App, serve
from persistconn.hubs import ClientProxy, Hub


@dataclass
class Stock:
    symbol: str
    opened: float
    price: float


class Market:
    def __init__(self) -> None:
        self.is_open = False
        prices = {"AIR": 141.20, "BMW": 88.46, "CRN": 12.08, "ELM": 230.15, "OAK": 54.90, "SEA": 301.75}
        self.stocks = [Stock(symbol, price, price) for symbol, price in prices.items()]

    async def run(self) -> None:
        pages = app.clients(TickerHub)  # from outside of any call
        while True:
            await anyio.sleep(0.25)
            if self.is_open:
                changed = random.sample(self.stocks, 2)
                for stock in changed:
                    stock.price = round(stock.price * random.uniform(0.985, 1.016), 2)
                await pages.all.changed(changed)


class Page(ClientProxy, Protocol):
    async def changed(self, stocks: list[Stock]) -> None: ...
    async def market(self, is_open: bool) -> None: ...


class TickerHub(Hub[Page]):
    def __init__(self, market: Market) -> None:
        self.market = market

    async def on_connected(self) -> None:
        await self.clients.caller.changed(self.market.stocks)
        await self.clients.caller.market(self.market.is_open)

    async def open_market(self, is_open: bool) -> None:
        self.market.is_open = is_open
        await self.clients.all.market(is_open)


market = Market()
app = App()
app.add_hubs("/signalr", TickerHub, factory=lambda: TickerHub(market))
add_hub_page(app, "stock_ticker.html")


async def main(port: int = 8000) -> None:
    async with anyio.create_task_group() as tasks:

        async def serving(*, task_status: TaskStatus[object]) -> None:
            await serve(app, port=port, task_status=task_status)
            tasks.cancel_scope.cancel()  # it was asked to stop: so does the market

        server = await tasks.start(serving)
        print(f"The market is at http://127.0.0.1:{server.port}", flush=True)
        await market.run()


if __name__ == "__main__":
    anyio.run(main)
