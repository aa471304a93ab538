"""What goes into the methods of a hub and comes out of them, as Python's types."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from persistconn import App
from persistconn.hubs import ClientProxy, Hub


class Size(Enum):
    small = "S"
    large = "L"


@dataclass
class Pizza:
    topping_name: str
    size: Size = Size.large


class Order(Struct, rename="camel"):  # its fields are orderId and so on for JavaScript, in both directions
    order_id: UUID
    ready_at: datetime
    pizzas: list[Pizza]


class Page(ClientProxy, Protocol):
    async def order_changed(self, order: Order) -> None: ...
    async def closing_soon(self, minutes: int) -> None: ...


class PizzaHub(Hub[Page]):
    async def change(self, order: Order) -> int:
        await self.clients.others.order_changed(order)  # type checkers know the page
        return len(order.pizzas)

    async def price(self, pizza: Pizza, count: int = 1) -> float:
        return count * (9.5 if pizza.size is Size.large else 7.0)

    async def favourite(self) -> Pizza:
        return Pizza("mushrooms", Size.small)


app = App()
app.add_hubs("/signalr", PizzaHub)
