"""Reads what a safetensors file says it holds, and whether that can be true; loads nothing.

https://github.com/huggingface/safetensors: 8 bytes of length, a header in JSON, the tensors.
"""

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAX_HEADER_BYTES = 100 * 1024 * 1024  # the format's own limit

_PREFIX = struct.Struct("<Q")
_BITS = {
    "F64": 64,
    "I64": 64,
    "U64": 64,
    "F32": 32,
    "I32": 32,
    "U32": 32,
    "F16": 16,
    "BF16": 16,
    "I16": 16,
    "U16": 16,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "I8": 8,
    "U8": 8,
    "BOOL": 8,
    "F4": 4,
}
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")


class BadHeader(Exception):
    """The message says what is wrong with the file, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]


def read(path: Path, max_header_bytes: int = MAX_HEADER_BYTES) -> dict[str, Tensor]:
    """The tensors by name; raises `BadHeader`, also where their places are not what they say."""
    with path.open("rb") as file:
        entries, num_data_bytes = _read_header(file, max_header_bytes)
    entries.pop("__metadata__", None)
    tensors, places = {}, []
    for name, entry in entries.items():
        tensors[name], place = _tensor(name, entry)
        places.append((*place, name))
    end_of_last = 0
    for start, end, name in sorted(places):
        if start != end_of_last:
            word = "overlaps another one" if start < end_of_last else "leaves a gap before it"
            raise BadHeader(f"the tensor {name} {word}")
        end_of_last = end
    if end_of_last != num_data_bytes:
        raise BadHeader(
            f"its header tells of {end_of_last:,} bytes of tensors; {num_data_bytes:,} are there"
        )
    return tensors


def _read_header(file: BinaryIO, max_header_bytes: int) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes come after it."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise BadHeader("it is too short to be safetensors")
    (length,) = _PREFIX.unpack(prefix)
    if length > size - _PREFIX.size:
        if prefix.startswith(_PICKLE_STARTS):  # which a header's length may do as well
            raise BadHeader("it is pickled, and could run code when it is opened; convert it")
        raise BadHeader("its header is said to be longer than the file; it is no safetensors")
    if length > max_header_bytes:
        raise BadHeader(f"its header is longer than {max_header_bytes:,} bytes")
    try:
        header = json.loads(file.read(length), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise BadHeader("its header is not valid JSON") from error
    if not isinstance(header, dict):
        raise BadHeader("its header is no JSON object")
    return header, size - _PREFIX.size - length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise BadHeader("its header names a tensor twice")
    return unique


def _tensor(name: str, entry: Any) -> tuple[Tensor, tuple[int, int]]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end]}:
            pass
        case _:
            raise BadHeader(f"the entry of {name} lacks dtype, shape or data_offsets")
    if dtype not in _BITS:
        raise BadHeader(f"the tensor {name} has the unknown dtype {dtype!r}")
    if not all(_is_count(number) for number in (*shape, start, end)):
        raise BadHeader(f"the shape or the offsets of {name} are no whole numbers")
    if 8 * (end - start) != math.prod(shape) * _BITS[dtype]:
        raise BadHeader(f"the offsets of {name} do not fit its shape {shape} of {dtype}")
    return Tensor(dtype, tuple(shape)), (start, end)


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63
