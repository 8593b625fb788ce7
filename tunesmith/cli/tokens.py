"""What a base model makes of a training file, before a job does."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from tunesmith.cli.admin import ask
from tunesmith.cli.files import upload
from tunesmith.cli.options import fail, load_settings
from tunesmith.cli.output import Console, Table
from tunesmith.cli.reading import counted as number_of
from tunesmith.cli.reading import with_progress
from tunesmith.cli.remote import Remote, connected
from tunesmith.dialects import openai, platform
from tunesmith.dialects.platform.translate import dataset_id
from tunesmith.doctor.findings import Finding
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.hyperparameters import AUTO, Hyperparameters
from tunesmith.domain.rules import Rule
from tunesmith.services import weights

_BAR_WIDTH = 40
_SERVER_SECONDS = 660  # for which a server may count
_THERE = {  # as the platform API calls the counts
    "num_examples": "examples",
    "num_tokens": "tokens",
    "num_trained_tokens": "trainedTokens",
    "num_truncated": "truncatedExamples",
    "num_losing": "losingExamples",
    "num_lost_tokens": "lostTokens",
    "num_refused": "refusedExamples",
    "mask_sha256": "mask",
    "refused": "refused",
    "losing": "losing",
}


@dataclass(frozen=True, slots=True)
class Located:
    """A base model on this machine; one that is in no catalogue has no name."""

    folder: str
    context_tokens: int
    name: str | None = None

    @property
    def arguments(self) -> tuple[str, str]:
        return self.folder, str(self.context_tokens)


def located(model: str, data_dir: Path | None) -> Located:
    if Path(model).is_dir():
        try:
            return Located(model, weights.context_tokens(Path(model)))
        except InvalidRequest as error:
            fail(error.message)
    for known in ask(data_dir, "GET", "/base-models"):
        if model in (known["name"], *known["aliases"]):
            return Located(known["folder"], known["context_tokens"], known["name"])
    fail(f"{model!r} is no folder and no base model; `tunesmith models list` shows them.")


def counted(file: Path, model: str, epochs: int | None, data_dir: Path | None) -> dict[str, Any]:
    """The counts of `compute.tokens`, and with them epochs and, as a catalogue knows it, time.

    Counted by this machine, or by the server elsewhere that the environment names.
    """
    is_elsewhere = data_dir is None and load_settings().api_key is not None
    if is_elsewhere and not Path(model).is_dir():
        with connected(None) as remote:
            return _counted_there(remote, file, model, epochs)
    found = located(model, data_dir)
    counts = _counted_here(file, found)
    num_examples = counts["num_examples"]
    resolved = Hyperparameters(num_epochs=epochs or AUTO).resolved(max(1, num_examples))
    estimate = None
    if found.name is not None and num_examples:
        body = _to_estimate(found.name, counts, epochs)
        estimate = ask(data_dir, "POST", "/fine-tuning/estimates", body, prefix=platform.PREFIX)
    return _whole(model, counts, resolved.num_epochs, estimate)


def findings(counts: dict[str, Any]) -> Iterator[Finding]:
    """Of the rows that are listed."""
    for row in counts["refused"]:
        advice = "Shorten the row, or take it out."
        yield Finding(Rule.NOT_LEARNABLE, f"{row['message'].rstrip('.')}. {advice}", row["line"])
    for row in counts["losing"]:
        yield Finding(
            Rule.TRUNCATED,
            f"The row has {row['tokens']:,} tokens, of which the model keeps {row['kept']:,}: "
            f"{row['lost']:,} that should be learned are lost. Shorten the row, or take a model "
            "that reads more.",
            row["line"],
        )


def tell(console: Console, counts: dict[str, Any]) -> None:
    table = Table("", "", show_header=False, pad_edge=False)
    for name, said in _lines(counts):
        table.add_row(Text(name, "bold"), said)
    console.print(table)
    most = max((number for _, number in counts["histogram"]), default=0)
    for limit, number in counts["histogram"]:
        bar = "█" * round(_BAR_WIDTH * number / most)
        console.print(f"{f'to {limit:,}':>10} {bar or '▏'} {number:,}")


def _lines(counts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    tokens, trained, epochs = (
        counts[name] for name in ("num_tokens", "num_trained_tokens", "num_epochs")
    )
    share = trained / tokens if tokens else 0.0
    yield "tokens", f"{tokens:,} an epoch, {trained:,} of them learned ({share:.0%})"
    yield "epochs", f"{epochs}: {trained * epochs:,} learned tokens in all"
    if counts["num_truncated"]:
        lost = counts["num_lost_tokens"]
        cut = number_of(counts["num_truncated"], "row")
        yield "cut off", f"the end of {cut}, and with it {lost:,} tokens that should be learned"
    else:
        yield "cut off", "nothing"
    estimate = counts["estimate"]
    if estimate is None:
        yield "time", "known of models in the catalogue: `tunesmith models add`"
    else:
        minutes, cost = estimate["minutes"], estimate["cost"]
        basis = "as measured" if estimate["isMeasured"] else "by calculation"
        yield (
            "time",
            f"{minutes['likely']} min ({minutes['low']} to {minutes['high']}) on "
            f"{estimate['device']}, {basis}",
        )
        yield "price", f"{cost['likely']:.2f} dollars ({cost['low']:.2f} to {cost['high']:.2f})"
    if counts["mask_sha256"] is not None:
        yield "mask", counts["mask_sha256"]
    yield "lengths", "rows by their tokens"


def _whole(model: str, counts: dict[str, Any], epochs: Any, estimate: Any) -> dict[str, Any]:
    return {"model": model, **counts, "num_epochs": epochs, "estimate": estimate}


def _to_estimate(model: str, counts: dict[str, Any], epochs: int | None) -> dict[str, Any]:
    length = counts["num_tokens"] / counts["num_examples"]
    return {
        "baseModel": model,
        "examples": counts["num_examples"],
        "tokensPerExample": length,
        "epochs": epochs,
    }


def _counted_here(file: Path, model: Located) -> dict[str, Any]:
    """By a process of its own, which may load what this one may not."""
    folder, limit = model.arguments
    command = [sys.executable, "-m", "tunesmith.compute.tokens", folder, "-", limit]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as child,
        file.open("rb") as source,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            for raw in with_progress(source, "counting tokens"):
                child.stdin.write(raw)
            child.stdin.close()
        except BrokenPipeError:
            pass  # it has ended, and says why
        told = child.stdout.read()
        if child.wait() != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            fail(said[-1] if said else "The tokenizer broke off.")
    counts: dict[str, Any] = json.loads(told)
    return counts


def _counted_there(remote: Remote, file: Path, model: str, epochs: int | None) -> dict[str, Any]:
    """The server gets the file, and forgets it again."""
    sent = upload(remote, file)["id"]
    try:
        dataset = dataset_id(openai.translate.inner_id("file", sent))
        with Console(stderr=True).status("counting tokens on the server"):
            path = f"{platform.PREFIX}/datasets/{dataset}/tokens"
            query = {"baseModel": model}
            told = remote.ask("GET", path, params=query, timeout=_SERVER_SECONDS).json()
        counts = {ours: told[theirs] for ours, theirs in _THERE.items()}
        counts["histogram"] = [[column["upTo"], column["examples"]] for column in told["histogram"]]
        estimate = None
        if counts["num_examples"]:
            body = _to_estimate(model, counts, epochs)
            path = f"{platform.PREFIX}/fine-tuning/estimates"
            estimate = remote.ask("POST", path, json=body).json()
        num_epochs = estimate["hyperparameters"]["epochs"] if estimate else epochs or 1
        return _whole(model, counts, num_epochs, estimate)
    finally:
        remote.ask("DELETE", f"{openai.PREFIX}/files/{sent}")
