"""The chat, and beside it a task that tells everybody the time."""

from datetime import datetime

import anyio
from anyio.abc import TaskStatus
from chat import app, chat

from persistconn import serve


async def tick() -> None:
    while True:
        await chat.broadcast(f"It is {datetime.now():%H:%M:%S}.")
        await anyio.sleep(1)


async def main() -> None:
    async with anyio.create_task_group() as tasks:

        async def serving(*, task_status: TaskStatus[object]) -> None:
            await serve(app, port=8000, task_status=task_status)
            tasks.cancel_scope.cancel()  # it was asked to stop: so do the others

        await tasks.start(serving)  # goes on once the server listens
        await tick()


if __name__ == "__main__":
    anyio.run(main)
