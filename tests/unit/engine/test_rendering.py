"""Chat templates that do harm are refused in time and memory, and the process goes on.

A test that hangs has found a template that is not interrupted.
"""

import multiprocessing
import resource
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.tiny_models import make_tokenizer
from tunesmith.engine import chat, rendering
from tunesmith.engine.errors import BadConversation
from tunesmith.engine.rendering import TemplateRefused, render

ASKED = [{"role": "user", "content": "a"}]
_DOUBLED = (
    "{% set ns = namespace(x='x') %}{% for i in range(99) %}{% set ns.x = ns.x DOUBLE ns.x %}"
)
BOMBS = {
    "loops in loops": "{% for a in range(9999) %}{% for b in range(9999) %}"
    "{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
    "loops over a list": "{% set r = range(99999) | list %}"
    "{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
    "loops that write": "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxx"
    "{% endfor %}{% endfor %}",
    "a huge range": "{% for a in range(10 ** 9) %}{% endfor %}",
    "a huge list": "{{ range(99999) | list * 99999 }}",
    "a text times a number": "{{ 'x' * 10 ** 10 }}",
    "a text added to itself": _DOUBLED.replace("DOUBLE", "+") + "{% endfor %}{{ ns.x }}",
    "a text beside itself": _DOUBLED.replace("DOUBLE", "~") + "{% endfor %}{{ ns.x }}",
    "a block of itself": "{% set ns = namespace(x='x') %}{% for i in range(99) %}"
    "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}{{ ns.x }}",
    "a wide column": "{{ 'x' | center(10 ** 10) }}",
    "a wide format": "{{ '%9999999999s' | format('x') }}",
    "a wide method": "{{ 'x'.ljust(10 ** 10) }}",
    "a replacement of nothing": "{{ ('x' * 10 ** 5).replace('', 'x' * 10 ** 6) }}",
    "a macro of itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a division by nothing": "{{ 1 / 0 }}",
    "a way out by a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a way out by globals": "{{ namespace.__init__.__globals__ }}",
    "a change of the messages": "{{ messages.append(1) }}",
}


def with_template(template: str) -> Any:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_time(name: str) -> None:
    tokenizer = with_template(BOMBS[name])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(TemplateRefused):
        render(tokenizer, ASKED)
    assert resource.getrlimit(resource.RLIMIT_AS) == limits
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == signal.getitimer(signal.ITIMER_PROF)
    assert render(make_tokenizer(), ASKED)  # nothing is left of it


def test_no_bomb_takes_much_memory() -> None:
    """In a process of its own: in this one, other tests have left memory that is mapped."""
    program = """
from tests.unit.engine.test_rendering import *
tokenizers = [with_template(bomb) for bomb in BOMBS.values()]
before = peak_bytes()
for tokenizer in tokenizers:
    try:
        render(tokenizer, ASKED)
    except TemplateRefused:
        print(peak_bytes() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    growths = [int(growth) for growth in done.stdout.split()]
    assert len(growths) == len(BOMBS)
    assert max(growths) <= 96 * 2**20  # 64 MB, and what Python holds of its own


def test_who_asked_is_told_what_the_template_does() -> None:
    for name, reason in (
        ("loops in loops", "takes more than"),
        ("a text times a number", "too much memory"),
        ("a macro of itself", "calls itself"),
    ):
        with pytest.raises(BadConversation, match=reason):
            chat.encode_prompt(with_template(BOMBS[name]), ASKED)


def test_a_text_without_end_is_refused_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_CHARACTERS", 1000)
    with pytest.raises(TemplateRefused, match="1,000 characters"):
        render(with_template("{% for a in range(1001) %}x{% endfor %}"), ASKED)


def test_a_long_conversation_is_rendered() -> None:
    long = [{"role": "user", "content": "é" * 2_000_000}] * 4
    assert len(render(make_tokenizer(), long)) > 8_000_000


def _stuck() -> None:
    rendering.MAX_STUCK_CPU_SECONDS = 1.0
    nested = "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}"
    compared = f"{{% for i in range(60) %}}{nested}{{% endfor %}}{{{{ ns.a == ns.b }}}}"
    render(with_template("{% set ns = namespace(a=[1], b=[1]) %}" + compared), ASKED)


def test_a_single_call_without_end_is_ended_by_the_kernel() -> None:
    """No code of ours runs in it; the host dies, and the worker starts another."""
    process = multiprocessing.get_context("spawn").Process(target=_stuck)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGPROF
