"""Kills a piece of work before and after each of its system calls, as `kill -9` would."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count

import pytest

_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_EXITKILL_AND_SYSGOOD = 0x100000 | 0x1
_AT_SYSCALL = signal.SIGTRAP | 0x80
_libc = ctypes.CDLL(None, use_errno=True)


def kill_points(
    work: Callable[[], object], prepare: Callable[[], object], every: int = 1
) -> Iterator[int]:
    """Yields after each death, with the number of the point; ends when `work` got to its end.

    `prepare` is called before each try. The work is done by a fork of this process, which is
    stopped where it enters and where it leaves the kernel; at its n-th stop it is killed,
    for each n, or `every` so many.
    """
    for point in count(every, every):
        prepare()
        if not _dies_at(point, work):
            return
        yield point


def _dies_at(point: int, work: Callable[[], object]) -> bool:
    pid = os.fork()
    if pid == 0:
        _be_traced(work)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        pytest.skip("This system lets no process trace its child (ptrace).")
    _ptrace(_SETOPTIONS, pid, _EXITKILL_AND_SYSGOOD)
    num_stops, pending = 0, 0
    while True:
        _ptrace(_SYSCALL, pid, pending)
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work failed by itself"
            return False
        assert os.WIFSTOPPED(status), "something else has killed the work"
        is_call = os.WSTOPSIG(status) == _AT_SYSCALL
        pending = 0 if is_call else os.WSTOPSIG(status)
        num_stops += is_call
        if num_stops == point:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return True


def _be_traced(work: Callable[[], object]) -> None:
    """Never returns: what would come after belongs to the process that we are a copy of."""
    code = 1
    try:
        if _libc.ptrace(_TRACEME, 0, 0, 0) == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            code = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _ptrace(request: int, pid: int, data: int) -> None:
    if _libc.ptrace(request, pid, None, ctypes.c_void_p(data)) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


only_where_traced = pytest.mark.skipif(sys.platform != "linux", reason="ptrace is Linux's")
