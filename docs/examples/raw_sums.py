"""Numbers, one a line, over any transport of ASP.NET Core SignalR or a bare WebSocket; all hear of the record."""

from pathlib import Path
from typing import Any

from persistconn import App, Connection, PersistentConnection


class Sums(PersistentConnection):
    record = 0

    async def on_connected(self, connection: Connection) -> None:
        connection.items.update(rest="", sum=0)
        await connection.groups.join("players")

    async def on_received(self, connection: Connection, data: Any) -> None:
        text = data if isinstance(data, str) else data.decode()  # as it was sent
        *lines, connection.items["rest"] = (connection.items["rest"] + text).split("\n")
        for line in lines:
            connection.items["sum"] += int(line)
            await connection.send(f"sum {connection.items['sum']}\n")
        if connection.items["sum"] > self.record:
            self.record = connection.items["sum"]
            await self.groups["players"].send(f"record {self.record}\n", exclude=[connection])


app = App()
app.add_connection("/sums", Sums(), dialects=["aspnetcore"])
app.add_page("/", (Path(__file__).parent / "raw_sums.html").read_bytes(), "text/html; charset=utf-8")
