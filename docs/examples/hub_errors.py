"""What a caller is told when a call fails."""

from persistconn import App
from persistconn.hubs import Hub, HubError


class BankHub(Hub):
    async def pay(self, amount: int) -> None:
        if amount > 100:
            raise HubError("You have only 100.", data={"missing": amount - 100})  # the caller reads this

    async def audit(self) -> None:
        raise RuntimeError("the password of the ledger is 1234")  # and not this: it is logged


app = App()
app.add_hubs("/signalr", BankHub)
