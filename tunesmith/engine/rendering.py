"""Chat templates are others' code: rendered in transformers' sandbox, within time and memory.

A render that computes for too long is interrupted, and one that asks for too much memory gets none.
Only what is stuck inside a single built-in call cannot be interrupted; there the kernel ends the
process, and its runs go on from their checkpoints in another one.
"""

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any

Message = dict[str, Any]

MAX_CPU_SECONDS = 0.8  # of the process, so that a busy machine does not shorten it
MAX_STUCK_CPU_SECONDS = 10.0
MAX_CHARACTERS = 32 * 2**20
SPARE_BYTES = 64 * 2**20  # beside what a text's own copies take
BYTES_PER_CHARACTER = 16
_DATE_CODES = "aAbBdejmyYHIMSp"
_STATM = Path("/proc/self/statm")


class TemplateRefused(Exception):
    """The template raised something, or did not stay within its bounds; the text says which."""


class _TooLong(BaseException):
    """Not for a template's own code to catch."""


def render(
    tokenizer: Any,
    messages: list[Message],
    tools: list[Any] | None = None,
    *,
    add_generation_prompt: bool = False,
    day: date | None = None,
) -> str:
    """Where the template writes the date, it is `day`, or today."""
    try:
        with _bounds(messages):
            text: str = tokenizer.apply_chat_template(
                messages,
                tools=tools,
                tokenize=False,
                chat_template=None if day is None else _dated(tokenizer, tools, day),
                add_generation_prompt=add_generation_prompt,
            )
    except _TooLong:
        raise TemplateRefused(f"it takes more than {MAX_CPU_SECONDS:g} s") from None
    except MemoryError:
        raise TemplateRefused("it takes too much memory") from None
    except RecursionError:
        raise TemplateRefused("it calls itself without end") from None
    except Exception as error:
        raise TemplateRefused(str(error) or type(error).__name__) from error
    if len(text) > MAX_CHARACTERS:
        raise TemplateRefused(f"it writes more than {MAX_CHARACTERS:,} characters")
    return text


def _dated(tokenizer: Any, tools: list[Any] | None, day: date) -> str:
    """The template with a macro in the place of `strftime_now`, which transformers offers.

    Only a template's own code can replace it: what is handed in has to be plain data.
    """
    template: str = tokenizer.get_chat_template(tools=tools)
    if "strftime_now" not in template:
        return template
    written = "".join(f" | replace('%{c}', '{day.strftime(f'%{c}')}')" for c in _DATE_CODES)
    # The line break goes with the block before it, and the template begins a line as it did.
    return (
        f"{{% macro strftime_now(format) %}}{{{{ format{written} }}}}{{% endmacro %}}\n{template}"
    )


@contextmanager
def _bounds(messages: list[Message]) -> Iterator[None]:
    """Time and memory are the process's, so they are bounded where it has one thread that renders.

    That is the main one of a host.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    characters = sum(len(str(message.get("content", ""))) for message in messages)
    with _time_limit(), _memory_limit(SPARE_BYTES + BYTES_PER_CHARACTER * characters):
        yield


@contextmanager
def _time_limit() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, _interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_SECONDS)
    signal.setitimer(signal.ITIMER_PROF, MAX_STUCK_CPU_SECONDS)  # SIGPROF, which nobody handles
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGVTALRM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise _TooLong


@contextmanager
def _memory_limit(room_bytes: int) -> Iterator[None]:
    """On Linux; elsewhere a process cannot tell how much address space it has taken."""
    if not _STATM.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(_STATM.read_text().split()[0]) * resource.getpagesize()
    wanted = taken + room_bytes
    limit = wanted if soft == resource.RLIM_INFINITY else min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
