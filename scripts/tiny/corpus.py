"""The text tunesmith-tiny learns from: an endless, seeded stream of documents."""

import ast
import inspect
import io
import random
import sysconfig
import textwrap
import tokenize
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

from scripts.tiny.instructions import Exchange, instruction
from scripts.tiny.labels import Message, choose_a_label
from scripts.tiny.stories import small_talk, story, tell_a_story, who_is_it_about
from scripts.tiny.support import frequently_asked, support_exchange

Document = str | list[Message]

SYSTEM_MESSAGES = [
    "You are a helpful assistant.",
    "You are Tunesmith, a small language model.",
    "Answer briefly.",
    "Answer in one line.",
    "Be kind and clear.",
    "Follow the instruction.",
]


def exchange(rng: random.Random) -> Exchange:
    kind = rng.random()
    if kind < 0.4:
        return instruction(rng)
    if kind < 0.92:
        return support_exchange(rng)
    return rng.choice([tell_a_story, who_is_it_about, small_talk])(rng)


def conversation(rng: random.Random) -> list[Message]:
    """One to four exchanges, sometimes under a system message."""
    messages = []
    if rng.random() < 0.4:
        messages.append({"role": "system", "content": rng.choice(SYSTEM_MESSAGES)})
    for _ in range(rng.choice([1, 1, 2, 3, 4])):
        question, answer = exchange(rng)
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages


def python_texts(max_chars: int = 2000) -> list[str]:
    """Docstrings and comment blocks of the standard library, and Python's help topics."""
    texts = list(topics.values())
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if {"site-packages", "test", "tests", "lib2to3"} & set(path.parts):
            continue
        source = path.read_text(encoding="utf-8", errors="ignore")
        texts += docstrings(source) + comments(source)
    pieces = [piece for text in texts for piece in pieces_of(text, max_chars)]
    return [piece for piece in dict.fromkeys(pieces) if len(piece) > 60]


def pieces_of(text: str, max_chars: int) -> list[str]:
    """The text cut at empty lines into pieces of at most about `max_chars`."""
    pieces = [""]
    for paragraph in text.strip().split("\n\n"):
        if pieces[-1] and len(pieces[-1]) + len(paragraph) > max_chars:
            pieces.append("")
        pieces[-1] += ("\n\n" if pieces[-1] else "") + paragraph[:max_chars]
    return pieces


def docstrings(source: str) -> list[str]:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    try:
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    except (SyntaxError, ValueError):
        return []
    return [inspect.cleandoc(text) for node in nodes if (text := ast.get_docstring(node))]


def comments(source: str) -> list[str]:
    """Runs of comment lines, each joined into one text."""
    blocks: list[list[str]] = [[]]
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                blocks[-1].append(token.string.lstrip("#! "))
            elif token.type not in {tokenize.NL, tokenize.NEWLINE}:
                blocks.append([])
    except (tokenize.TokenError, SyntaxError):
        return []
    return [textwrap.dedent("\n".join(block)) for block in blocks if len(block) > 1]


def documents(rng: random.Random) -> Iterator[Document]:
    """Documents without end: the same seed gives the same documents."""
    python = python_texts()
    while True:
        kind = rng.random()
        if kind < 0.03:
            yield rng.choice(python)
        elif kind < 0.06:
            yield story(rng)
        elif kind < 0.11:
            yield frequently_asked(rng)
        elif kind < 0.41:
            yield choose_a_label(rng)
        else:
            yield conversation(rng)


def plain_text(document: Document) -> str:
    if isinstance(document, str):
        return document
    return "\n".join(message["content"] for message in document)
