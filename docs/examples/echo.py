"""The smallest server: everybody gets back what they send."""

from typing import Any

from persistconn import App, Connection, PersistentConnection


class Echo(PersistentConnection):
    async def on_received(self, connection: Connection, data: Any) -> None:
        await connection.send(data)


app = App()
app.add_connection("/echo", Echo())
