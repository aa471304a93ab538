"""A long call that reports how far it has come, can be cancelled, and says what was wrong when it fails."""

import anyio
from hub_pages import add_hub_page

from persistconn import App, Settings
from persistconn.hubs import Hub, HubError, Progress


class PictureHub(Hub):
    async def shrink(self, count: int, broken: int | None, progress: Progress[int]) -> str:
        if not 1 <= count <= 500:
            raise HubError("Between 1 and 500 pictures, please.")
        done = 0
        with anyio.CancelScope() as scope:
            self.context.items["job"] = scope
            while done < count:
                await anyio.sleep(0.03)  # the hard work
                if done + 1 == broken:
                    raise HubError(f"Picture {broken} is broken.", data={"picture": broken, "done": done})
                done += 1
                await progress.report(done)
            return f"{count} pictures are smaller now."
        raise HubError("Cancelled.", data={"done": done})

    async def cancel(self) -> None:
        if job := self.context.items.get("job"):
            job.cancel()


app = App(settings=Settings(max_parallel_calls=2))  # by default calls take turns: cancel would wait for shrink
app.add_hubs("/signalr", PictureHub)
add_hub_page(app, "progress.html")
