"""Receives multipart bodies of any length, in constant memory, parts in any order."""

from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from tunesmith.domain.errors import InvalidRequest, TunesmithError
from tunesmith.http import body_stream
from tunesmith.store.blobs import BlobWriter

PIECE_BYTES = 1024 * 1024
MAX_FIELD_BYTES = 64 * 1024
MAX_PARTS = 16
MAX_DISCARDED_BYTES = 8 * 1024**3  # of a body that is refused: who is still sending cannot listen


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a body held beside the bytes of its file."""

    filename: str
    fields: dict[str, str]


def openapi_body(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": required, "properties": properties}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


async def receive(
    request: Request, writer: BlobWriter, *, file: str, fields: Collection[str] = ()
) -> Form:
    """The body's part `file` goes to `writer`; it may have `fields` beside it, and nothing else.

    What is wrong with a body is said when all of it has come: a client that is answered while it
    sends sees a broken connection and not the answer.
    """
    stream = body_stream(request)
    try:
        try:
            form = _Parts(request, writer, file, fields)
            async for piece in _in_pieces(stream):
                await run_in_threadpool(form.feed, piece)
            return form.finish()
        except TunesmithError:
            await _discard(stream)
            raise
    except ClientDisconnect as error:
        raise InvalidRequest("The connection was closed before the upload was whole.") from error


async def discard(request: Request) -> None:
    """Hear out whoever sends what is refused."""
    with suppress(ClientDisconnect):
        await _discard(body_stream(request))


async def _in_pieces(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Chunks as the network brought them, put together to be worth a thread's while."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in stream:
        chunks.append(chunk)
        size += len(chunk)
        if size >= PIECE_BYTES:
            yield b"".join(chunks)
            chunks, size = [], 0
    if size:
        yield b"".join(chunks)


async def _discard(stream: AsyncIterator[bytes]) -> None:
    discarded = 0
    async for chunk in stream:
        discarded += len(chunk)
        if discarded > MAX_DISCARDED_BYTES:
            return


class _Parts:
    """The parts of a body, as its pieces come."""

    def __init__(
        self, request: Request, writer: BlobWriter, file: str, fields: Collection[str]
    ) -> None:
        self._parser = _parser(request)
        self._writer = writer
        self._file = file
        self._allowed = fields
        self._fields: dict[str, bytearray] = {}
        self._filename: str | None = None
        self._name = ""

    def feed(self, piece: bytes) -> None:
        try:
            for event in self._parser.parse(piece):
                if isinstance(event, bytes | bytearray):
                    self._take(bytes(event))
                elif event is not None:
                    self._begin(event)
        except MultipartError as error:
            raise _not_multipart(error) from error

    def finish(self) -> Form:
        try:
            self._parser.close()
        except MultipartError as error:
            raise _not_multipart(error) from error
        if self._filename is None:
            raise InvalidRequest(f"The part `{self._file}` is missing.", param=self._file)
        fields = {name: _text(name, value) for name, value in self._fields.items()}
        return Form(filename=self._filename, fields=fields)

    def _begin(self, part: MultipartSegment) -> None:
        self._name = part.name
        if self._name == self._file and self._filename is None:
            self._filename = part.filename or "upload"
        elif self._name in self._allowed and self._name not in self._fields:
            self._fields[self._name] = bytearray()
        elif self._name == self._file or self._name in self._allowed:
            raise InvalidRequest(f"Send one `{self._name}` at a time.", param=self._name)
        else:
            raise InvalidRequest(
                f"Unrecognized request argument supplied: {self._name}", param=self._name
            )

    def _take(self, content: bytes) -> None:
        if self._name == self._file:
            self._writer.write(content)
            return
        field = self._fields[self._name]
        field += content
        if len(field) > MAX_FIELD_BYTES:
            raise InvalidRequest(f"`{self._name}` is too long.", param=self._name)


def _text(name: str, value: bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"`{name}` is not UTF-8.", param=name) from error


def _parser(request: Request) -> PushMultipartParser:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise InvalidRequest(f"The content encoding {encoding!r} is not understood; send it plain.")
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary or len(boundary) > 200:
        raise InvalidRequest("Send the bytes as multipart/form-data.")
    try:
        return PushMultipartParser(boundary, max_segment_count=MAX_PARTS)
    except MultipartError as error:
        raise _not_multipart(error) from error


def _not_multipart(error: MultipartError) -> InvalidRequest:
    return InvalidRequest(f"The body is not valid multipart/form-data: {error}.")
