"""What is fuzzed, and with what. A target returns, or raises what the house refuses with."""

import asyncio
import contextlib
import json
import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from fastapi import Request
from hypothesis import strategies as st

from tests import adapter_files
from tunesmith.dialects.openai import translate as openai
from tunesmith.dialects.openai import translate_jobs
from tunesmith.dialects.platform import translate as platform
from tunesmith.domain.datasets import check_training_lines, read_lines
from tunesmith.domain.errors import TunesmithError
from tunesmith.domain.hyperparameters import Method
from tunesmith.services import tensor_headers
from tunesmith.store.blobs import Blobs
from tunesmith.wire import multipart_form


@dataclass(frozen=True)
class Target:
    inputs: st.SearchStrategy[Any]
    run: Callable[[Any], None]


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
_GOOD_ROWS = (
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n',
    b'{"prompt": "a", "completion": "b"}\n',
    b'{"input": {"messages": [{"role": "user", "content": "a"}]}, '
    b'"preferred_output": [{"role": "assistant", "content": "b"}], '
    b'"non_preferred_output": [{"role": "assistant", "content": "c"}]}\n',
)
_ROW_KEYS = ("messages", "prompt", "completion", "tools", "input", "text", "role", "content")


@st.composite
def damaged(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """Something good with some of its bytes changed, put in or taken out."""
    content = bytearray(draw(good))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 8))
        content[place : place + length] = draw(st.binary(max_size=8))
    return bytes(content)


def jsonl(rows: bytes) -> None:
    for method in (Method.SUPERVISED, Method.DPO):
        with contextlib.suppress(TunesmithError):
            check_training_lines(read_lines(BytesIO(rows)), method)


_rows = damaged(st.sampled_from(_GOOD_ROWS).map(lambda row: row * 3)) | st.lists(
    st.dictionaries(st.sampled_from(_ROW_KEYS), _json, max_size=3).map(
        lambda row: json.dumps(row).encode()
    ),
    max_size=4,
).map(b"\n".join)

_FORM = (
    b'--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n{}\n\r\n--edge--\r\n"
)


def multipart(sent: tuple[bytes, int]) -> None:
    """In pieces of one length, as a network might cut them."""
    body, length = sent
    pieces = [body[start : start + length] for start in range(0, len(body), length)]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    header = (b"content-type", b"multipart/form-data; boundary=edge")
    request = Request({"type": "http", "headers": [header]}, receive)
    with _blobs().writer(1024) as writer, contextlib.suppress(TunesmithError):
        asyncio.run(multipart_form.receive(request, writer, file="file", fields=("purpose",)))


@cache
def _blobs() -> Blobs:
    return Blobs(Path(tempfile.mkdtemp(prefix="fuzz-")))


def safetensors(content: bytes) -> None:
    path = _blobs()._incoming / "weights"
    path.write_bytes(content)
    with contextlib.suppress(tensor_headers.BadHeader):
        tensor_headers.read(path)


_HEADER = adapter_files.safetensors({"a": ("F32", [2, 3]), "b": ("I8", [4])})
_headers = damaged(st.just(_HEADER)) | st.dictionaries(st.text(max_size=5), _json, max_size=3).map(
    lambda header: struct.pack("<Q", len(json.dumps(header))) + json.dumps(header).encode()
)


def cursor(text: str) -> None:
    """Whatever is read out of an id is written as the very same id."""
    for kind, prefix in (("file", "file-"), ("job", "ftjob-"), ("event", "ftevent-")):
        with contextlib.suppress(TunesmithError):
            assert openai.outer_id(prefix, openai.inner_id(kind, text)) == text
    with contextlib.suppress(TunesmithError):
        platform.inner_job_id(text)
    openai.short_id_in(text)
    platform.find_id("ds_", text)


_digits = st.text("0123456789ABCxyzé_-", max_size=30)
_cursors = st.text(max_size=40) | st.builds(
    lambda prefix, digits: prefix + digits,
    st.sampled_from(("file-", "ftjob-", "ftevent-", "ftjob_", "ds_", "ft:a:b:c:")),
    _digits,
)


def search(query: list[tuple[str, str]]) -> None:
    """Sort and filter expressions of both dialects that have any."""
    with contextlib.suppress(TunesmithError):
        platform.job_search(dict(query))
    with contextlib.suppress(TunesmithError):
        translate_jobs.job_filter(query)
    for _, value in query:
        with contextlib.suppress(TunesmithError):
            platform.moment(value, "since")


_names = st.sampled_from(
    (
        "sort",
        "sortBy",
        "sortOrder",
        "status",
        "limit",
        "offset",
        "search",
        "metadata",
        "metadata[a]",
    )
) | st.text(max_size=12)
_values = st.sampled_from(
    (
        "-createdAt",
        "name:asc",
        "queued",
        "null",
        "2026-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
    )
) | st.text(max_size=20)

TARGETS: dict[str, Target] = {
    "jsonl": Target(_rows, jsonl),
    "multipart": Target(st.tuples(damaged(st.just(_FORM)), st.integers(1, 64)), multipart),
    "safetensors": Target(_headers, safetensors),
    "cursors": Target(_cursors, cursor),
    "search": Target(st.lists(st.tuples(_names, _values), max_size=5), search),
}
