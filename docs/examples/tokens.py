"""A text that comes token by token, as those of language models do, and stops when nobody wants it any more."""

import random
import re
from collections.abc import AsyncIterator, Iterator
from typing import Literal, Protocol

import anyio
from signalr_pages import add_signalr_page

from persistconn import App
from persistconn.hubs import ClientProxy, Hub, HubError

OPENINGS = ["Nobody who has seen {} forgets it.", "There are two kinds of people, and both know {}.", "First, {}."]
SENTENCES = [
    "In the {time} it smells of {thing} and {thing}.",
    "The {people} say that the {quality} {thing} was there first.",
    "What the {quality} {thing} has to do with {topic} is a question for {people}.",
    "Come in the {time}, when the {people} have gone and only the {quality} {thing} is left.",
    "{topic} is like {thing}: {quality} at first, and {quality} in the end.",
    "Some bring {thing}, others bring {thing}; the {people} bring both.",
]
WORDS = {
    "time": ["early morning", "rain", "late afternoon", "first week of May", "dark"],
    "thing": ["coffee", "salt", "bread", "old paper", "copper", "moss", "thunder", "soap"],
    "people": ["fishermen", "neighbours", "bell-founders", "children", "gardeners", "night nurses"],
    "quality": ["quiet", "stubborn", "bright", "borrowed", "patient", "half-forgotten"],
}


def write_about(topic: str, sentences: int) -> Iterator[str]:
    """Stands in for a language model: it knows nothing, and always says the same about the same."""
    chance = random.Random(topic)
    for number in range(sentences):
        pattern = chance.choice(OPENINGS).format("{topic}") if number == 0 else chance.choice(SENTENCES)
        words = re.sub(
            r"\{(\w+)\}", lambda found: topic if found[1] == "topic" else chance.choice(WORDS[found[1]]), pattern
        )
        yield from re.findall(r"\s*\w{1,4}|\W", words[0].upper() + words[1:] + " ")


class Page(ClientProxy, Protocol):
    """The functions of the page."""

    async def at_work(self, writers: int) -> None: ...


class WriterHub(Hub[Page]):
    at_work = 0

    async def on_connected(self) -> None:
        await self.clients.caller.at_work(WriterHub.at_work)

    async def write(self, topic: str, length: Literal["short", "long"]) -> AsyncIterator[str]:
        if not 1 <= len(topic.strip()) <= 60:
            raise HubError("A topic has 1 to 60 letters.")
        await self._count(+1)
        try:
            for token in write_about(topic.strip(), 4 if length == "short" else 100):
                await anyio.sleep(0.02)  # the hard thinking
                yield token
        finally:  # at its end, and when it is cancelled or its reader goes
            with anyio.CancelScope(shield=True):
                await self._count(-1)

    async def _count(self, change: int) -> None:  # begins with _, so no page can call it
        WriterHub.at_work += change
        await self.clients.all.at_work(WriterHub.at_work)


app = App()
app.add_hubs("/writer", WriterHub)
add_signalr_page(app, "tokens.html")
