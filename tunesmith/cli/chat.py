"""`chat`: talk to a model."""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import typer

from tunesmith.cli.options import DataDir, Exit, fail
from tunesmith.cli.output import harmless
from tunesmith.cli.remote import Remote, connected
from tunesmith.dialects import openai

Messages = list[dict[str, str]]

_HINT = "Ctrl-C stops an answer, Ctrl-D ends. /new begins again."


def chat(
    model: Annotated[str, typer.Argument(help="A base model, a tuned one, a checkpoint.")],
    message: Annotated[
        str | None, typer.Argument(help="Ask this alone; by default what is typed or piped in.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, max=2)] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Talk to a model, word by word as it answers."""
    options: dict[str, Any] = {"temperature": temperature, "max_completion_tokens": max_tokens}
    body = {"model": model}
    body |= {name: value for name, value in options.items() if value is not None}
    first: Messages = [] if system is None else [{"role": "system", "content": system}]
    with connected(data_dir) as remote:
        if message is None and sys.stdin.isatty():
            _converse(remote, body, first)
            return
        question = sys.stdin.read() if message is None else message
        messages = [*first, {"role": "user", "content": question}]
        _print(answer(remote, {**body, "messages": messages}))


def _converse(remote: Remote, body: dict[str, Any], first: Messages) -> None:
    typer.secho(f"{body['model']}. {_HINT}", dim=True)
    messages = list(first)
    while True:
        try:
            question = input("> ")
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if question.strip() == "/new":
            messages = list(first)
        elif question.strip():
            messages.append({"role": "user", "content": question})
            said = _print(answer(remote, {**body, "messages": messages}))
            messages.append({"role": "assistant", "content": said})


def _print(pieces: Iterator[str]) -> str:
    """All that was said; less where Ctrl-C cut it off."""
    said = ""
    try:
        for piece in pieces:
            said += piece
            typer.echo(harmless(piece) if sys.stdout.isatty() else piece, nl=False)
    except KeyboardInterrupt:
        if not sys.stdin.isatty():
            raise typer.Exit(130) from None
    finally:
        typer.echo()
    return said


def answer(remote: Remote, body: dict[str, Any]) -> Iterator[str]:
    """An answer's pieces; closing the iterator cancels the rest of it."""
    path, body = f"{openai.PREFIX}/chat/completions", {**body, "stream": True}
    try:
        with remote.http.stream("POST", path, json=body) as response:
            remote.checked(response)
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield _content(json.loads(line.removeprefix("data: ")))
    except httpx.ConnectError as error:
        remote.unreachable(error)
    except httpx.TransportError as error:
        fail(f"The answer broke off: {error}.", Exit.UNREACHABLE)


def _content(chunk: dict[str, Any]) -> str:
    if "error" in chunk:
        fail(str(chunk["error"]["message"]))
    choices = chunk.get("choices") or [{}]
    return choices[0].get("delta", {}).get("content") or ""
