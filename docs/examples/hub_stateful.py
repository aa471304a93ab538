"""A hub whose connections outlive their sockets."""

from persistconn import App, Settings
from persistconn.hubs import Hub


class DiaryHub(Hub):
    async def write(self, line: str) -> int:
        lines = self.context.items.setdefault("lines", [])
        lines.append(line)
        return len(lines)

    async def on_reconnected(self) -> None:
        print(f"{self.context.connection_id} has come back, and nothing is lost")


app = App(settings=Settings(allow_stateful_reconnect=True))
app.add_hubs("/diary", DiaryHub)
