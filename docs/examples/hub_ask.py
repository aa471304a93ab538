"""Ask a client, and wait for what it says."""

from typing import Any

from persistconn import App, ConnectionClosed
from persistconn.hubs import Hub, HubError


class DoorHub(Hub):
    async def who_am_i(self) -> str:
        return self.context.connection_id

    async def ring(self, who: str) -> str:
        door = self.clients.client(who)
        try:
            opens: bool = await door.invoke("ring", self.context.connection_id, returns=bool, timeout=5)
        except TimeoutError:
            return "nobody answers"
        except HubError as error:  # its function failed, there is none, or what it gave is no bool
            return f"the bell is broken: {error}"
        except ConnectionClosed:
            return "nobody lives there"
        return "come in" if opens else "go away"


app = App()
app.add_hubs("/doors", DoorHub)


async def names_of(id: str) -> Any:
    """From anywhere, not only from within a hub."""
    return await app.clients(DoorHub).client(id).invoke("names", returns=list[str], timeout=5)
