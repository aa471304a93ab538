"""What a caller is told when a call fails."""

from persistconn import App
from persistconn.hubs import Hub, HubError


class BankHub(Hub):
    async def pay(self, amount: int) -> None:
        if amount > 100:
            # The caller reads this:
            raise HubError("You have only 100.", data={"missing": amount - 100})

    async def audit(self) -> None:
        # And not this, which is logged:
        raise RuntimeError("the password of the ledger is 1234")


app = App()
app.add_hubs("/signalr", BankHub)
