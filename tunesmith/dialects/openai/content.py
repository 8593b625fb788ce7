"""A file's bytes as an answer: the whole, or the one range that was asked for.

https://www.rfc-editor.org/rfc/rfc9110#section-14
"""

import base64
import re
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse

from tunesmith.dialects.openai.errors import render
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.files import File
from tunesmith.wire import stored_bytes

MEDIA_TYPE = "application/octet-stream"
_ONE_RANGE = re.compile(r"bytes=([0-9]{0,30})-([0-9]{0,30})", re.IGNORECASE)


def of_file(request: Request, file: File, path: Path) -> Response:
    headers = _validators(file, file.blob.sha256)
    wanted = _wanted(request, headers, file.blob.size_bytes)
    if wanted is None:
        _drop_range(request)
    elif not wanted:
        return _out_of_range(request, file.blob.size_bytes)
    return FileResponse(path, media_type=MEDIA_TYPE, filename=file.filename, headers=headers)


def of_file_as_base64(request: Request, file: File, path: Path) -> Response:
    """For files that are small because we made them."""
    encoded = base64.b64encode(path.read_bytes())
    headers = _validators(file, f"{file.blob.sha256}-base64")
    headers["accept-ranges"] = "bytes"
    wanted = _wanted(request, headers, len(encoded))
    if wanted is None:
        return Response(encoded, media_type=MEDIA_TYPE, headers=headers)
    if not wanted:
        return _out_of_range(request, len(encoded))
    headers["content-range"] = f"bytes {wanted[0]}-{wanted[-1]}/{len(encoded)}"
    part = encoded[wanted.start : wanted.stop]
    return Response(part, status_code=206, media_type=MEDIA_TYPE, headers=headers)


def _byte_range(asked: str, size_bytes: int) -> range | None:
    """Empty where there are no such bytes; None where the whole is the answer.

    That is so for what is no range, and for several at once, which a server need not honour.
    """
    found = _ONE_RANGE.fullmatch(asked.strip())
    if found is None or found[0].endswith("=-"):
        return None
    first, last = found.groups()
    if not first:
        return range(max(size_bytes - int(last), 0), size_bytes)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size_bytes) if last else size_bytes)


def _wanted(request: Request, headers: dict[str, str], size_bytes: int) -> range | None:
    asked = request.headers.get("range")
    condition = request.headers.get("if-range")
    if asked is None or condition not in (None, headers["etag"], headers["last-modified"]):
        return None
    return _byte_range(asked, size_bytes)


def _drop_range(request: Request) -> None:
    """A file's response reads the header by itself, and refuses what ought to be ignored."""
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
    request.scope["headers"] = headers


def _validators(file: File, name: str) -> dict[str, str]:
    return stored_bytes.validators(name, file.created_at)


def _out_of_range(request: Request, size_bytes: int) -> Response:
    error = InvalidRequest(f"The file has {size_bytes:,} bytes, and none in that range.")
    response = render(request, error, 416)
    response.headers["content-range"] = f"bytes */{size_bytes}"
    return response
