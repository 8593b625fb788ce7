"""Real data: the shipped model learns BANKING77's intents from none to some, in a minute or two."""

import os
from pathlib import Path

import pytest

from examples.banking77 import as_jsonl, read_rows, sample, share_right
from examples.demo import as_question, ask_all
from tests.e2e.service import Service, wait_for_job

DATA = Path(os.environ.get("TUNESMITH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
BANKING77 = DATA / "banking77"
NUM_TRAINING_ROWS, NUM_TEST_ROWS = 3000, 150
NUM_INTENTS = 77


@pytest.mark.slow
@pytest.mark.skipif(not BANKING77.is_dir(), reason=f"BANKING77 is not in {BANKING77}")
def test_accuracy_on_held_out_rows_rises_from_about_zero(tmp_path: Path) -> None:
    service = Service(tmp_path / "data")
    service.start()
    client = service.client
    rows = sample(read_rows(BANKING77, "train"), NUM_TRAINING_ROWS)
    held_out = sample(read_rows(BANKING77, "test"), NUM_TEST_ROWS)
    questions = [as_question(row) for row in held_out]
    try:
        uploaded = client.files.create(
            file=("banking77.jsonl", as_jsonl(rows)), purpose="fine-tune"
        )
        job = client.fine_tuning.jobs.create(
            model="tunesmith-tiny",
            training_file=uploaded.id,
            seed=1,
            method={
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 32}},
            },
        )
        job = wait_for_job(service, job.id, seconds=600)
        before = share_right(questions, ask_all(client, job.model, questions, "base"))
        after = share_right(
            questions, ask_all(client, str(job.fine_tuned_model), questions, "tuned")
        )
    finally:
        service.kill()
    print(f"BANKING77, {NUM_TEST_ROWS} test rows: base {before:.1%}, tuned {after:.1%}")
    assert before < 2 / NUM_INTENTS
    assert after > 5 / NUM_INTENTS
