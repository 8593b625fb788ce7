"""Receives uploads: multipart bodies of any length, in constant memory, parts in any order."""

from collections.abc import AsyncIterator
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

from tunesmith.dialects.openai import translate
from tunesmith.domain.errors import InvalidRequest, TunesmithError
from tunesmith.domain.files import FilePurpose
from tunesmith.http import body_stream
from tunesmith.store.blobs import BlobWriter

PIECE_BYTES = 1024 * 1024
MAX_FIELD_BYTES = 64 * 1024
MAX_PARTS = 16
MAX_DISCARDED_BYTES = 8 * 1024**3  # of a body that is refused: who is still sending cannot listen

PURPOSES = ("fine-tune", "assistants", "batch", "vision", "user_data", "evals")

OPENAPI_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    filename: str
    purpose: FilePurpose


async def receive(request: Request, writer: BlobWriter) -> Upload:
    """The body's `file` goes to `writer`.

    What is wrong with a body is said when all of it has come: a client that is answered while it
    sends sees a broken connection and not the answer.
    """
    stream = body_stream(request)
    try:
        try:
            form = _Form(request, writer)
            async for piece in _in_pieces(stream):
                await run_in_threadpool(form.feed, piece)
            return form.finish()
        except TunesmithError:
            await _discard(stream)
            raise
    except ClientDisconnect as error:
        raise InvalidRequest("The connection was closed before the upload was whole.") from error


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


class _Form:
    """The parts of a body, as its pieces come."""

    def __init__(self, request: Request, writer: BlobWriter) -> None:
        self._parser = _parser(request)
        self._writer = writer
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

    def finish(self) -> Upload:
        try:
            self._parser.close()
        except MultipartError as error:
            raise _not_multipart(error) from error
        if self._filename is None:
            raise InvalidRequest("The part `file` is missing.", param="file")
        return Upload(filename=self._filename, purpose=self._purpose())

    def _begin(self, part: MultipartSegment) -> None:
        self._name = part.name
        if self._name == "file":
            if self._filename is not None:
                raise InvalidRequest("Send one `file` at a time.", param="file")
            self._filename = part.filename or "upload"
            return
        if self._name.partition("[")[0] == "expires_after":
            raise InvalidRequest(
                "`expires_after` is not available yet; leave it out.", param="expires_after"
            )
        if self._name != "purpose":
            raise InvalidRequest(
                f"Unrecognized request argument supplied: {self._name}", param=self._name
            )
        self._fields[self._name] = bytearray()

    def _take(self, content: bytes) -> None:
        if self._name == "file":
            self._writer.write(content)
            return
        field = self._fields[self._name]
        field += content
        if len(field) > MAX_FIELD_BYTES:
            raise InvalidRequest(f"`{self._name}` is too long.", param=self._name)

    def _purpose(self) -> FilePurpose:
        if "purpose" not in self._fields:
            raise InvalidRequest("The part `purpose` is missing.", param="purpose")
        name = self._fields["purpose"].decode("utf-8", "replace")
        purpose = translate.purpose(name) if name in PURPOSES else None
        if purpose is None:
            raise InvalidRequest(
                f"{name[:100]!r} is not one of {list(PURPOSES)!r}.", param="purpose"
            )
        return purpose


def _parser(request: Request) -> PushMultipartParser:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise InvalidRequest(f"The content encoding {encoding!r} is not understood; send it plain.")
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary or len(boundary) > 200:
        raise InvalidRequest("Send the file as multipart/form-data.")
    try:
        return PushMultipartParser(boundary, max_segment_count=MAX_PARTS)
    except MultipartError as error:
        raise _not_multipart(error) from error


def _not_multipart(error: MultipartError) -> InvalidRequest:
    return InvalidRequest(f"The body is not valid multipart/form-data: {error}.")
