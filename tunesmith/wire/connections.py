"""Connections that bring nothing and take up room: headers are bounded, and slow ones are cut.

uvicorn waits for headers and bodies without a limit of time, and keeps headers of any length.
"""

import asyncio
from http import HTTPStatus

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

log = structlog.get_logger()

MAX_HEADERS = 100
MAX_HEADER_BYTES = 64 * 1024  # of a request's line and headers together
HEADER_SECONDS = 15.0  # from the first byte to the last
BODY_SECONDS = 20.0  # a stretch in which so many bytes must come
MIN_BODY_BYTES = 2 * 1024
STALLED_SECONDS = 60.0  # in which a client takes none of its answer
LOOK_SECONDS = 5.0


class GuardedProtocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        now = self.loop.time()
        self._is_in_headers = True
        self._headers_since = now
        self._header_bytes = 0
        self._body_since, self._body_bytes = now, 0
        self._stalled_since: float | None = None
        self._look = self.loop.call_later(LOOK_SECONDS, self._look_around)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._is_in_headers:
            if self._header_bytes == 0:
                self._headers_since = self.loop.time()
            self._header_bytes += len(data)
        super().data_received(data)
        # What was put into one piece with its headers is judged by the number of those alone.
        if self._is_in_headers and self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._is_in_headers, self._header_bytes = False, 0
        self._body_since, self._body_bytes = self.loop.time(), 0
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_in_headers, self._header_bytes = True, 0
        self._headers_since = self.loop.time()

    def _look_around(self) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # or it is a WebSocket by now
        if self._is_too_slow(self.loop.time()):
            log.info("slow connection cut", client=self.client and self.client[0])
            self.transport.abort()
            return
        self._look = self.loop.call_later(LOOK_SECONDS, self._look_around)

    def _is_too_slow(self, now: float) -> bool:
        if self.flow.write_paused:
            self._stalled_since = self._stalled_since or now
            return now - self._stalled_since > STALLED_SECONDS
        self._stalled_since = None
        if self._is_in_headers:
            is_answering = self.cycle is not None and not self.cycle.response_complete
            has_begun = self._header_bytes > 0 or self.cycle is None
            return has_begun and not is_answering and now - self._headers_since > HEADER_SECONDS
        if self.cycle is None or self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._body_since, self._body_bytes = now, 0  # it is we who do not read
            return False
        if now - self._body_since <= BODY_SECONDS:
            return False
        brought = self._body_bytes
        self._body_since, self._body_bytes = now, 0
        return brought < MIN_BODY_BYTES

    def _refuse(self, status: HTTPStatus) -> None:
        if self.transport.is_closing():
            return
        body = f"{status.phrase}.".encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
