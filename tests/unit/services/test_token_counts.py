"""What a base model makes of a file, told by a real process with a real tokenizer."""

import json
from pathlib import Path

import pytest

import tunesmith
from tests.factories import base_model, conversation, json_lines
from tunesmith.domain.errors import InvalidRequest
from tunesmith.engine import data
from tunesmith.engine.model import load_tokenizer
from tunesmith.services import examinations
from tunesmith.store.blobs import Blobs

TINY = Path(tunesmith.__file__).parent / "assets" / "tunesmith-tiny"
ROWS = [conversation(("user", f"What is {n}?"), ("assistant", f"{n}. " * n)) for n in range(1, 40)]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def test_the_counts_are_those_of_the_training(blobs: Blobs) -> None:
    model = base_model(folder=str(TINY), context_tokens=64)
    blob = blobs.put(b"".join(json_lines(*ROWS)))
    counts = examinations.count_tokens(blobs, blob, model)
    trained = data.open_file(blobs.path(blob.sha256), load_tokenizer(TINY), 64)
    trained.read_on()

    assert counts["num_examples"] == len(trained) == sum(n for _, n in counts["histogram"])
    assert counts["num_tokens"] == trained.num_tokens
    assert counts["num_trained_tokens"] == trained.num_supervised_tokens
    assert counts["num_truncated"] == trained.num_truncated > 0
    assert counts["num_lost_tokens"] == trained.num_lost_tokens > 0
    assert counts["mask_sha256"] == trained.mask_sha256
    assert counts["refused"] == []
    assert counts["num_losing"] == len(counts["losing"])
    assert sum(row["lost"] for row in counts["losing"]) == trained.num_lost_tokens
    assert [limit for limit, _ in counts["histogram"]] == [32, 64, 128, 256]


def test_rows_that_teach_nothing_are_named_by_their_line(blobs: Blobs) -> None:
    model = base_model(folder=str(TINY), context_tokens=16)
    beyond = conversation(("user", "why " * 50), ("assistant", "So."))
    blob = blobs.put(b"\n".join([json.dumps(ROWS[0]).encode(), b"", *json_lines(beyond)]))
    counts = examinations.count_tokens(blobs, blob, model)

    assert (counts["num_examples"], counts["num_refused"]) == (1, 1)
    (refused,) = counts["refused"]
    assert refused["line"] == 3
    assert "beyond the limit of 16 tokens" in refused["message"]
    assert counts["mask_sha256"] is None


def test_a_rows_tokens_are_its_text_and_those_that_are_learned_are_marked(blobs: Blobs) -> None:
    model = base_model(folder=str(TINY), context_tokens=64)
    rows = [
        conversation(("user", "Flag of France?"), ("assistant", "🇫🇷 voilà")),
        conversation(("user", "why " * 100), ("assistant", "So.")),
    ]
    lines = [*json_lines(*ROWS[:2]), b"\n", b"no JSON\n", *json_lines(*rows)]
    blob = blobs.put(b"".join(lines))
    seen = examinations.rows_seen(blobs, blob, model, first=3, count=2)
    refused, read = seen["rows"]
    (text,) = read["texts"]

    assert (refused["line"], read["line"], seen["has_more"]) == (4, 5, True)
    assert "JSON" in refused["refused"]
    assert sum(count for _, count, _ in text["pieces"]) == text["num_tokens"]
    assert (
        sum(count for _, count, is_learned in text["pieces"] if is_learned) == (text["num_trained"])
    )
    learned = "".join(piece for piece, _, is_learned in text["pieces"] if is_learned)
    assert learned.startswith("🇫🇷 voilà")
    tokenizer = load_tokenizer(TINY)
    trained = data.open_file(blobs.path(blobs.put(lines[4]).sha256), tokenizer, 64)
    assert "".join(p for p, *_ in text["pieces"]) == tokenizer.decode(trained[0].token_ids)
    (beyond,) = examinations.rows_seen(blobs, blob, model, first=6, count=2)["rows"]
    assert "beyond the limit of 64 tokens" in beyond["refused"]


@pytest.mark.parametrize("tokenizer", [None, "{", '{"added_tokens": []}'])
def test_a_model_without_a_tokenizer_is_named_and_its_folder_is_not(
    blobs: Blobs, tmp_path: Path, tokenizer: str | None
) -> None:
    blob = blobs.put(b"".join(json_lines(*ROWS)))
    if tokenizer is not None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "tokenizer.json").write_text(tokenizer)
    model = base_model("llama", folder=str(tmp_path / "model"))

    with pytest.raises(InvalidRequest, match="tokenizer of llama cannot be loaded") as refused:
        examinations.count_tokens(blobs, blob, model)
    with pytest.raises(InvalidRequest, match="tokenizer of llama cannot be loaded"):
        examinations.rows_seen(blobs, blob, model, first=1, count=1)
    assert refused.value.param == "model"
    assert str(tmp_path) not in refused.value.message
