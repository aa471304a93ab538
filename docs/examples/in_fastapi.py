"""Hubs in FastAPI: two lines to mount them, and the dependencies that routes have, too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI
from fastapi.requests import HTTPConnection

from persistconn import App
from persistconn.hubs import Hub

SHELF = {"apples": 3}


class Stock:
    """Stands for a session of a database."""

    def __init__(self) -> None:
        self.left = SHELF


async def get_stock() -> AsyncIterator[Stock]:
    stock = Stock()
    yield stock
    # here, when the call or the request is over, a session is closed


async def get_currency(connection: HTTPConnection) -> str:
    """Takes an HTTPConnection, which every transport has, and not a Request."""
    currency: str = connection.state.currency
    return currency


StockNow = Annotated[Stock, Depends(get_stock)]
Currency = Annotated[str, Depends(get_currency)]


class Shop(Hub):
    def __init__(self, stock: StockNow) -> None:
        self.stock = stock

    async def buy(self, what: str, currency: Currency) -> int:
        """Clients call it with one argument: `connection.invoke("buy", "apples")`."""
        self.stock.left[what] -= 1
        await self.clients.all.sold(what, currency)
        return self.stock.left[what]


realtime = App(secret_keys=["a secret of your own, from elsewhere"])
realtime.add_hubs("/hubs", Shop)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    async with realtime.lifespan():
        yield {"currency": "EUR"}  # every request has it in its state, and so have hubs


app = FastAPI(lifespan=lifespan)


@app.get("/stock/{what}")
async def left(what: str, stock: StockNow, currency: Currency) -> str:
    return f"{stock.left[what]} for {currency}"


app.mount("/rt", realtime)
