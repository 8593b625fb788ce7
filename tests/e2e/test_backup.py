"""A backup that is taken while a job trains can be served from, and goes on with the job."""

from pathlib import Path

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.service import Service, steps_done, wait_for_job, wait_until


def test_a_backup_of_a_running_service_answers_and_goes_on(
    make_service: ServiceMaker, tmp_path: Path
) -> None:
    service = make_service(checkpoint_seconds="0.2")
    service.start()
    file = service.client.files.create(file=("train.jsonl", conversations(40)), purpose="fine-tune")
    first = service.client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file.id,
        hyperparameters={"n_epochs": 1, "batch_size": 8},
        suffix="first",
    )
    finished = wait_for_job(service, first.id)
    running = service.client.fine_tuning.jobs.create(
        model=BASE, training_file=file.id, hyperparameters={"n_epochs": 25, "batch_size": 1}
    )
    wait_until(lambda: len(steps_done(service, running.id)) > 5, "the job to train")

    said = service.run("backup", str(tmp_path / "backup"))
    assert "new" in said
    again = service.run("backup", str(tmp_path / "backup"))
    assert int(again.split(", ")[-1].split()[0]) < int(said.split(", ")[-1].split()[0])
    service.kill()

    restored = Service(tmp_path / "restored")
    restored.run("restore", str(tmp_path / "backup"))
    restored.start()
    try:
        assert finished.fine_tuned_model is not None
        answer = restored.client.chat.completions.create(
            model=finished.fine_tuned_model,
            messages=[{"role": "user", "content": "Item 1 is red."}],
            max_tokens=2,
        )
        assert answer.choices
        assert wait_for_job(restored, running.id).trained_tokens
    finally:
        restored.stop()
