"""Multipart bodies written by hand, for what no client would send."""

from collections.abc import Iterator

BOUNDARY = "xyz"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    head = f"--{BOUNDARY}\r\n{disposition}\r\n\r\n".encode("utf-8", "surrogatepass")
    return head + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def in_chunks(body: bytes, size: int = 1000) -> Iterator[bytes]:
    """Without a length that could be told beforehand."""
    for start in range(0, len(body), size):
        yield body[start : start + size]
