"""Functions around every call of a hub's method."""

import logging

import anyio

from persistconn import App
from persistconn.hubs import Hub, HubCall, HubError, Proceed

logger = logging.getLogger("calls")


async def measured(call: HubCall, proceed: Proceed) -> object:
    """Goes on, and writes down how long it took, whatever came of it."""
    start = anyio.current_time()
    try:
        return await proceed()
    finally:
        took = anyio.current_time() - start
        logger.info("%s by %s: %.3f s", call.method, call.context.user, took)


async def trimmed(call: HubCall, proceed: Proceed) -> object:
    """Changes what the method is called with."""
    known = call.arguments
    call.arguments = [one.strip() if isinstance(one, str) else one for one in known]
    return await proceed()


async def explained(call: HubCall, proceed: Proceed) -> object:
    """Turns an exception into words for the caller."""
    try:
        return await proceed()
    except LookupError as error:
        raise HubError(f"There is no {error}.") from error


WORDS = {"fisk": "fish", "hus": "house"}


class WordHub(Hub):
    async def translate(self, word: str) -> str:
        return WORDS[word]


app = App()
# The first filter is the outermost:
app.add_hubs("/signalr", WordHub, filters=[measured, explained, trimmed])
