"""What hubs depend on: an account for each call, and a transaction that ends with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from persistconn import App, Request
from persistconn.hubs import Depends, Hub, HubError

BALANCES = {"ann": 100}


class Ledger:
    """Stands for a database."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[dict[str, int]]:
        balances = dict(BALANCES)
        yield balances
        BALANCES.update(balances)  # not reached if the call fails


async def get_balances() -> AsyncIterator[dict[str, int]]:
    async with Ledger().transaction() as balances:
        yield balances  # the call goes on from here, and comes back when it is over


async def get_owner(request: Request) -> str:
    name = request.query.get("name", "")
    if name not in BALANCES:
        raise HubError("You have no account.")
    return name


Balances = Annotated[dict[str, int], Depends(get_balances)]


class BankHub(Hub):
    def __init__(self, owner: Annotated[str, Depends(get_owner)]) -> None:
        self.owner = owner

    async def pay(self, amount: int, balances: Balances) -> int:
        """Pages call it with one argument."""
        balances[self.owner] -= amount
        if balances[self.owner] < 0:
            raise HubError("You have too little.")
        return balances[self.owner]


app = App()
app.add_hubs("/signalr", BankHub)
