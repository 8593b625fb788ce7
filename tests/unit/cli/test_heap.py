import os
import platform
import subprocess
import sys

import pytest

HEAPS_AFTER_THREADS = """
import ctypes, sys, tempfile, threading
from pathlib import Path
from tunesmith.cli import heap

if sys.argv[1] == "shared":
    heap.share_one_heap()
all_at_once = threading.Barrier(4)

def allocate():
    all_at_once.wait()
    kept = [bytearray(3000) for _ in range(100)]
    all_at_once.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
with tempfile.NamedTemporaryFile() as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(Path(file.name).read_text().count("<heap nr="))
"""


def heaps(which: str, **environment: str) -> int:
    inherited = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    command = [sys.executable, "-c", HEAPS_AFTER_THREADS, which]
    return int(subprocess.check_output(command, env={**inherited, **environment}))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has such heaps")
def test_all_threads_share_one_heap_unless_the_environment_says_otherwise() -> None:
    assert heaps("each its own") > 1
    assert heaps("shared") == 1
    assert heaps("shared", MALLOC_ARENA_MAX="3") > 1
