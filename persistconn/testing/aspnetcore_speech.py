"""A client of one hub on ASP.NET Core: handshake, calls, streams both ways, results, stateful reconnect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from ..hubs import HubError
from ..hubs.aspnetcore_json import RECORD_SEPARATOR, JsonProtocol, write_json
from ..hubs.aspnetcore_messagepack import MessagePackProtocol
from ..hubs.messages import (
    TRACKED,
    Ack,
    Close,
    Completion,
    HubProtocol,
    Invocation,
    Message,
    Ping,
    StreamItem,
)
from ..hubs.messages import Sequence as SequenceMessage
from ..hubs.replay import Replay
from ..tasks import Tasks
from .aspnetcore_wire import AspNetCoreWire
from .call_log import Call
from .dialing import Refused
from .hub_calls import HubSpeech, is_upload
from .waiting import News

__all__ = ["AspNetCoreSpeech"]


class AspNetCoreSpeech(HubSpeech[AspNetCoreWire]):
    """What is said on an `AspNetCoreWire`; give the wire `hear`."""

    def __init__(self, tasks: Tasks, news: News, hub: str, protocol: str, timeout: float) -> None:
        super().__init__(tasks, news)
        self._hub = hub
        self._protocol: HubProtocol = MessagePackProtocol() if protocol == "messagepack" else JsonProtocol()
        self._decode = msgspec.json.decode if protocol == "json" else msgspec.msgpack.decode
        self._timeout = timeout
        self._rest = b""
        self._handshake: bytes | None = None
        """The server's answer to it."""
        self._replay: Replay | None = None
        self._streams = 0

    # A connection's life ------------------------------------------------------------------------

    async def start(self) -> None:
        """See HubSpeech."""
        await self.wire.start()
        await self._shake_hands()

    async def _shake_hands(self) -> None:
        self._rest, self._handshake = b"", None
        version = 2 if self.wire.stateful else 1
        said = write_json({"protocol": self._protocol.name, "version": version}) + RECORD_SEPARATOR
        await self.wire.say(said.decode())
        self._replay = Replay() if self.wire.stateful else None
        closed = [b'{"error":"the server has ended the connection"}']
        answer = await self.news.until(
            lambda: self._handshake or (None if self.wire.is_open else closed[0]),
            *(self._timeout, lambda: "the server does not answer the handshake"),
        )
        error = msgspec.json.decode(answer).get("error")
        if error is not None:
            raise Refused("the handshake", 200, error)

    async def come_back(self) -> None:
        """See HubSpeech."""
        id = self.wire.id
        self._rest = b""
        await self.wire.come_back()
        if self.wire.id != id:
            await self._shake_hands()
        elif self._replay is not None:
            number, frames = self._replay.resume()
            await self._say(b"".join((self._protocol.sequence(number), *frames)))

    async def leave(self) -> None:
        """See HubSpeech."""
        if self.wire.is_open and self.wire.line is not None:
            await self._say(self._protocol.close())
        await self.wire.leave()

    # What we say --------------------------------------------------------------------------------

    async def _say(self, frame: bytes) -> None:
        await self.wire.say(frame.decode() if self._protocol.format == "text" else frame)

    async def _say_tracked(self, frame: bytes) -> None:
        if self._replay is not None:
            self._replay.keep(frame)
        await self._say(frame)

    async def write(
        self, hub: str, method: str, arguments: Sequence[Any], id: str | None, *, is_stream: bool = False
    ) -> None:
        """See HubSpeech."""
        uploads: dict[str, AsyncIterator[Any]] = {}
        plain: list[Any] = []
        for argument in arguments:
            if is_upload(argument):
                self._streams += 1
                uploads[f"s{self._streams}"] = argument
            else:
                plain.append(argument)
        frame = self._protocol.invocation(method, plain, id, stream_ids=list(uploads), is_stream=is_stream)
        await self._say_tracked(frame)
        for stream_id, items in uploads.items():
            self.tasks.spawn(self._upload, stream_id, items)

    async def _upload(self, id: str, items: AsyncIterator[Any]) -> None:
        error: str | None = None
        try:
            async for item in items:
                await self._say_tracked(self._protocol.stream_item(id, item))
        except Exception as problem:
            error = str(problem)
        await self._say_tracked(self._protocol.completion(id, error=error))

    async def cancel(self, id: str) -> None:
        """See HubSpeech."""
        await self._say_tracked(self._protocol.cancel(id))

    async def _answer(self, id: str, result: Any, error: str | None) -> None:
        await self._say_tracked(self._protocol.completion(id, result=result, error=error))

    # What the server says -----------------------------------------------------------------------

    def hear(self, data: str | bytes) -> None:
        """Something has come, cut anywhere."""
        rest = self._rest + (data.encode() if isinstance(data, str) else data)
        if self._handshake is None:
            answer, end, rest = rest.partition(RECORD_SEPARATOR)
            if not end:
                self._rest = answer
                return
            self._handshake = answer
        records, left = self._protocol.split(rest, None)
        self._rest = bytes(left)
        for record in records:
            message = self._protocol.read(record)
            if message is not None:
                self._take(message)
        replay = self._replay
        if replay is not None and replay.owes_ack:
            self.tasks.spawn(self._say, self._protocol.ack(replay.tell()))
        self.news.tell()

    def _take(self, message: Message) -> None:
        replay = self._replay
        if replay is not None and isinstance(message, TRACKED) and not replay.take():
            return  # it was said before
        match message:
            case Invocation():
                answer = None if message.id is None else partial(self._answer, message.id)
                self.called(Call(self._hub, message.target, self._values(message.arguments), self.wire.id), answer)
            case StreamItem():
                if message.id in self.pending:
                    self.pending[message.id].items.append(self._value(message.item))
            case Completion():
                error = None if message.error is None else HubError(message.error)
                self.finish(message.id, self._value(message.result), error)
            case Close():
                self.wire.reason = message.error or ""
            case Ping():
                self.tasks.spawn(self._say, self._protocol.ping())
            case Ack() if replay is not None:
                replay.acknowledge(message.sequence)
            case SequenceMessage() if replay is not None:
                replay.resynchronize(message.sequence)

    def _values(self, written: Sequence[Raw]) -> list[Any]:
        return [self._decode(one) for one in written]

    def _value(self, written: Raw | msgspec.UnsetType) -> Any:
        return None if written is UNSET else self._decode(written)
