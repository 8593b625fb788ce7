"""`python -m benchmarks.upload --bytes 2G`: the server's memory while large files come in.

In one piece, in parts, 20 at once, and broken off at 50 points.
"""

import argparse
import hashlib
import socket
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.plots import Line, lines
from benchmarks.server import KEY, Memory, Server, serving

MEBIBYTE = 1024**2
GOAL_BYTES = 150 * 10**6
PART_BYTES = 64 * MEBIBYTE
BLOCK = (b'{"messages": "' + b"x" * (MEBIBYTE - 17)) + b'"}\n'
HEADERS = {"Authorization": f"Bearer {KEY}"}
FORM = {**HEADERS, "Content-Type": "multipart/form-data; boundary=edge"}


def form(num_bytes: int) -> Iterator[bytes]:
    yield b'--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    yield b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    for _ in range(num_bytes // MEBIBYTE):
        yield BLOCK
    yield b"\r\n--edge--\r\n"


def in_one_piece(server: Server, num_bytes: int) -> None:
    with httpx.Client(timeout=600) as http:
        answer = http.post(f"{server.url}/v1/files", content=form(num_bytes), headers=FORM)
    assert answer.json()["bytes"] == num_bytes, answer.text


def in_parts(server: Server, num_bytes: int) -> None:
    body = {"bytes": num_bytes, "filename": "a", "purpose": "user_data", "mime_type": "a/b"}
    part, digest, ids = BLOCK * (PART_BYTES // MEBIBYTE), hashlib.md5(usedforsecurity=False), []
    with httpx.Client(timeout=600, headers=HEADERS) as http:
        made = http.post(f"{server.url}/v1/uploads", json=body).raise_for_status().json()
        path = f"{server.url}/v1/uploads/{made['id']}"
        for _ in range(num_bytes // PART_BYTES):
            sent = http.post(f"{path}/parts", files={"data": ("a", part)})
            ids.append(sent.raise_for_status().json()["id"])
            digest.update(part)
        body = {"part_ids": ids, "md5": digest.hexdigest()}
        assert http.post(f"{path}/complete", json=body).json()["status"] == "completed"


def at_once(server: Server) -> Memory:
    memory = Memory(server)
    with memory.sampled(), ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: in_one_piece(server, 64 * MEBIBYTE), range(20)))
    print(f"20 of 64M at once: peak {memory.peak / MEBIBYTE:.0f} MiB")
    return memory


def broken_off(server: Server, num_points: int, num_bytes: int = 32 * MEBIBYTE) -> int:
    """Connections that end in the midst of a file; how many files they have left behind."""
    whole = b"".join(form(num_bytes))
    head = "".join(f"{name}: {value}\r\n" for name, value in FORM.items())
    request = f"POST /v1/files HTTP/1.1\r\nhost: a\r\n{head}content-length: {len(whole)}\r\n\r\n"
    for point in range(num_points):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(request.encode() + whole[: len(whole) * point // num_points])
    deadline = time.monotonic() + 30
    incoming = server.data_dir / "blobs" / "incoming"
    while (left := len(list(incoming.iterdir()))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.upload")
    parser.add_argument("--bytes", default="2G", help="such as 512M or 2G")
    parser.add_argument(
        "--one-piece", action="store_true", help="nothing but the large file, in one piece"
    )
    parser.add_argument("--svg", type=Path, help="where a graph of the memory goes")
    asked = parser.parse_args()
    num_bytes = int(asked.bytes[:-1]) * {"M": MEBIBYTE, "G": 1024 * MEBIBYTE}[asked.bytes[-1]]
    drawn: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        limits = dict.fromkeys(("max_upload_bytes", "max_multipart_upload_bytes"), str(2**34))
        with serving(Path(folder), **limits) as server:
            print(f"at rest: {server.resident_bytes() / MEBIBYTE:.0f} MiB resident")
            ways = (("in one piece", in_one_piece), ("in parts", in_parts))
            for name, send in ways[:1] if asked.one_piece else ways:
                memory, started = Memory(server), time.monotonic()
                with memory.sampled():
                    send(server, num_bytes)
                seconds = time.monotonic() - started
                rate = num_bytes / MEBIBYTE / seconds
                peak = memory.peak / MEBIBYTE
                print(f"{asked.bytes} {name}: peak {peak:.0f} MiB, {rate:.0f} MiB/s")
                drawn.append(_line(f"{asked.bytes} {name}", memory))
            if not asked.one_piece:
                drawn.append(_line("20 of 64M at once", at_once(server)))
                print(f"broken off at 50 points: {broken_off(server, 50)} files left behind")
            print(f"highest of all: {server.resident_bytes('VmHWM') / MEBIBYTE:.0f} MiB")
    if asked.svg:
        title = "Resident memory of the server while files come in"
        asked.svg.write_text(lines(title, drawn, limit=GOAL_BYTES / MEBIBYTE, unit="MiB"))


def _line(label: str, memory: Memory) -> Line:
    return Line(label, [(seconds, size / MEBIBYTE) for seconds, size in memory.samples])


if __name__ == "__main__":
    main()
