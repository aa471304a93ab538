"""The hub of the article, one method after the other."""

from dataclasses import dataclass

from hub_pages import add_hub_page

from persistconn import App
from persistconn.hubs import Hub


@dataclass
class Item:
    obj_id: int
    obj_val: str


class MyHub(Hub):
    calls = 0  # of the class: what the article calls static

    def __init__(self) -> None:
        self.calls_here = 0  # of the instance: made for this call, and gone after it

    async def void_function_with_params(self, number: int, text: str) -> None:
        print(f"The page says {number} and {text!r}.")

    async def increment(self, value: int) -> int:
        return value + 1

    async def echo_item(self, item: Item) -> Item:
        return Item(item.obj_id * 2, item.obj_val.upper())

    async def call_me(self) -> None:
        await self.clients.all.alert_message("Somebody wants to be called.")
        await self.clients.caller.receive_complex([Item(1, "one"), Item(2, "two")])

    async def count(self) -> list[int]:
        MyHub.calls += 1
        self.calls_here += 1
        return [MyHub.calls, self.calls_here]


app = App()
app.add_hubs("/signalr", MyHub)
add_hub_page(app, "my_hub.html")
