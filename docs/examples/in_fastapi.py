"""Hubs in FastAPI: two lines to mount them, and what they depend on given to their constructor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from persistconn import App
from persistconn.hubs import Hub


class Stock:
    """Stands for a database."""

    def __init__(self) -> None:
        self.left = {"apples": 3}


stock = Stock()


def get_stock() -> Stock:
    return stock


class Shop(Hub):
    def __init__(self, stock: Stock) -> None:
        self.stock = stock

    async def buy(self, what: str) -> int:
        self.stock.left[what] -= 1
        currency = self.context.request.state["currency"]
        await self.clients.all.sold(what, currency)
        return self.stock.left[what]


def make(hub: type[Hub]) -> Hub:
    """What `Depends` does for routes: once per call of a client."""
    return hub(get_stock())  # type: ignore[call-arg]  # the constructor of your hubs


realtime = App(secret_keys=["a secret of your own, from elsewhere"])
realtime.add_hubs("/hubs", Shop, factory=make)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    async with realtime.lifespan():
        yield {"currency": "EUR"}  # every request has it in its state, and so have hubs


app = FastAPI(lifespan=lifespan)


@app.get("/stock/{what}")
async def left(what: str, stock: Stock = Depends(get_stock)) -> int:  # noqa: B008  # how FastAPI wants it
    return stock.left[what]


app.mount("/rt", realtime)
