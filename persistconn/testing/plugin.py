"""Fixtures for pytest. The plugin is there as soon as persistconn is installed, and imports nothing before it is used.

Each fixture gives a test what suits it: in tests that anyio's plugin runs, on asyncio or trio, methods to be awaited;
in plain ones the same methods, which wait.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .blocking import BlockingClient
    from .client import Client

__all__ = ["fake_signalr", "persistconn_client"]


@pytest.fixture
def persistconn_client(request: pytest.FixtureRequest) -> Any:
    """Makes clients of an app, and closes them after the test: `client = await persistconn_client(app, "/echo")`, in a
    plain test without the `await`. It takes what `persistconn.testing.Client` takes.
    """
    return request.getfixturevalue(_fitting(request, "_persistconn_client"))


@pytest.fixture
def fake_signalr(request: pytest.FixtureRequest) -> Any:
    """A `persistconn.testing.fake_server` that runs as long as the test."""
    return request.getfixturevalue(_fitting(request, "_fake_signalr"))


def _fitting(request: pytest.FixtureRequest, name: str) -> str:
    if "anyio_backend" in request.fixturenames:
        return f"{name}_awaited"
    import inspect

    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        pytest.fail(
            f"{request.fixturename} needs anyio's plugin in asynchronous tests: mark them with pytest.mark.anyio; or "
            "use persistconn.testing.Client and fake_server in an `async with`"
        )
    return f"{name}_blocking"


class _Connecting:
    """A client to be awaited. Who forgets that is told so, where a coroutine would say something of its own `send`."""

    def __init__(self, connect: Callable[[Client], Coroutine[Any, Any, Client]], client: Client) -> None:
        self._connect = connect
        self._client = client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._connect(self._client).__await__()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no {name} before it connects: `client = await persistconn_client(…)`")


@pytest.fixture
async def _persistconn_client_awaited() -> AsyncIterator[Any]:
    """Each client lives in a task of its own: fixtures that are made before a test connects end before this one."""
    import anyio
    from anyio.abc import TaskStatus

    from .client import Client

    held: list[tuple[anyio.Event, anyio.Event]] = []
    failures: list[Exception] = []

    async def hold(client: Client, *, task_status: TaskStatus[None]) -> None:
        leave, left = anyio.Event(), anyio.Event()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(client)
            held.append((leave, left))
            task_status.started()
            await leave.wait()
            try:
                await stack.aclose()
            except Exception as error:
                failures.append(error)
            left.set()

    async with anyio.create_task_group() as tasks:

        async def connect(client: Client) -> Client:
            await tasks.start(hold, client)
            return client

        yield lambda *args, **options: _Connecting(connect, Client(*args, **options))
        for leave, left in reversed(held):
            leave.set()
            await left.wait()
    if failures:
        raise failures[0]


@pytest.fixture
def _persistconn_client_blocking() -> Iterator[Any]:
    from .client import Client

    with ExitStack() as stack:

        def connect(*args: Any, **options: Any) -> BlockingClient:
            return stack.enter_context(Client(*args, **options))

        yield connect


@pytest.fixture
async def _fake_signalr_awaited() -> AsyncIterator[Any]:
    from .fake import fake_server

    async with fake_server() as server:
        yield server


@pytest.fixture
def _fake_signalr_blocking() -> Iterator[Any]:
    from .fake import fake_server

    with fake_server() as server:
        yield server
