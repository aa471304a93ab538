"""The hub of the article, and beside the server a task that calls its clients."""

import anyio
from anyio.abc import TaskStatus
from my_hub import MyHub, app

from persistconn import serve


async def call_from_outside() -> None:
    while True:
        await app.clients(MyHub).all.alert_message("external test")
        await anyio.sleep(1)


async def main(port: int = 8000) -> None:
    async with anyio.create_task_group() as tasks:

        async def serving(*, task_status: TaskStatus[object]) -> None:
            await serve(app, port=port, task_status=task_status)
            tasks.cancel_scope.cancel()  # it was asked to stop: so do the others

        server = await tasks.start(serving)  # goes on once the server listens
        print(f"Open http://127.0.0.1:{server.port}", flush=True)
        await call_from_outside()


if __name__ == "__main__":
    anyio.run(main)
