"""Bad input: what parsers, databases and servers stumble over."""

import json
from collections.abc import Iterator
from typing import Any

DEEP = 5_000

# Bodies that are no JSON object that could be honoured, whatever the route.
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no object": b"[]",
    "a string": b'"a"',
    "null": b"null",
    "deep arrays": b"[" * DEEP + b"]" * DEEP,
    "deep arrays in a field": b'{"a": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "unclosed": b"[" * 100_000,
    "bad UTF-8": b'{"a": "\xff\xfe"}',
    "half a character": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "NaN": b'{"a": NaN}',
    "a comma too many": b'{"a": 1,}',
    "two bodies": b"{}{}",
    "a number of 5,000 digits": b'{"a": ' + b"9" * 5_000 + b"}",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
}

# In the place of a field's value; as JSON says it, for Python cannot say all of them.
VALUES: dict[str, bytes] = {
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "1e999": b"1e999",
    "2^63": b"9223372036854775808",
    "-2^63-1": b"-9223372036854775809",
    "400 digits": b"1" + b"0" * 400,
    "NUL": rb'"a\u0000b"',
    "a lone surrogate": rb'"a\ud800"',
    "a NUL in a list": rb'["\u0000"]',
    "a lone surrogate in an object": rb'{"\udfff": "\udfff"}',
    "deep": b"[" * DEEP + b"]" * DEEP,
    "a long string": b'"' + b"x" * 50_000 + b'"',
}


def with_bad_fields(body: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """A good body with each of its fields made bad in each way."""
    for field in body:
        marked = json.dumps({**body, field: "<here>"}).encode()
        for name, value in VALUES.items():
            yield f"{field}: {name}", marked.replace(b'"<here>"', value)


REQUEST_LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"host: a\r\n"

# What a proxy and a server could read differently, or that no server need hear out.
RAW_REQUESTS: dict[str, bytes] = {
    "length and chunks": REQUEST_LINE
    + HOST
    + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": REQUEST_LINE + HOST + b"content-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
    "a list of lengths": REQUEST_LINE + HOST + b"content-length: 4, 4\r\n\r\nabcd",
    "a negative length": REQUEST_LINE + HOST + b"content-length: -1\r\n\r\n",
    "a length with a sign": REQUEST_LINE + HOST + b"content-length: +4\r\n\r\nabcd",
    "a length in hexadecimal": REQUEST_LINE + HOST + b"content-length: 0x4\r\n\r\nabcd",
    "a length beyond 64 bits": REQUEST_LINE
    + HOST
    + b"content-length: 99999999999999999999\r\n\r\n",
    "chunked not last": REQUEST_LINE + HOST + b"transfer-encoding: chunked, gzip\r\n\r\n",
    "chunked twice": REQUEST_LINE + HOST + b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": REQUEST_LINE + HOST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": REQUEST_LINE + HOST + b"content-length : 4\r\n\r\nabcd",
    "a tab in a name": REQUEST_LINE + HOST + b"a\tb: c\r\n\r\n",
    "a NUL in a value": REQUEST_LINE + HOST + b"a: b\x00c\r\n\r\n",
    "a bare return in a value": REQUEST_LINE + HOST + b"a: b\rc: d\r\n\r\n",
    "a bad size of a chunk": REQUEST_LINE
    + HOST
    + b"transfer-encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": REQUEST_LINE
    + HOST
    + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nab\r\n0\r\n\r\n",
    "no name": REQUEST_LINE + HOST + b": a\r\n\r\n",
    "another protocol": b"GET / SMTP/1.1\r\n\r\n",
    "no method": b"/ HTTP/1.1\r\n\r\n",
    "TLS where there is none": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
    "1,000 headers": b"GET /healthz HTTP/1.1\r\n"
    + HOST
    + b"".join(b"x-%d: a\r\n" % n for n in range(1_000))
    + b"\r\n",
    "a header of 1 MB": b"GET /healthz HTTP/1.1\r\n" + HOST + b"a: " + b"x" * 10**6 + b"\r\n\r\n",
    "a path of 1 MB": b"GET /" + b"x" * 10**6 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
}
