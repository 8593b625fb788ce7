"""A save that finds no room leaves the checkpoints that there are, and the run can be had again."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.parity import rows
from tests.small_disk import small_disk
from tunesmith.engine.checkpoint import check_manifest
from tunesmith.engine.errors import DiskFull
from tunesmith.engine.events import CheckpointSaved, Finished, StepDone
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train

PAGE = 4096


def test_of_fifty_budgets_each_saves_a_checkpoint_whole_or_not_at_all(
    llama: BaseModel, new_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    data = rows.without_shared_prefix(8)
    spec = new_spec(data, num_epochs=2, checkpoint_every_seconds=0)
    *_, unbroken = train(llama, spec, lambda: False)
    size_bytes = sum(file.stat().st_size for file in unbroken.path.iterdir())
    budgets = [size_bytes * 5 * share // 50 for share in range(50)]
    num_refused = 0
    with small_disk(tmp_path / "disk", 30 * size_bytes) as disk:
        for number, budget in enumerate(budgets):
            output_dir = disk / "output"
            its = replace(spec, run_id=f"run-of-{number}", output_dir=output_dir)
            events, newest = train(llama, its, lambda: False), None
            for event in events:
                if isinstance(event, CheckpointSaved):
                    newest = event.path
                if isinstance(event, StepDone) and event.step == 2:
                    break
            assert newest is not None
            (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - budget))
            try:
                next(events)
            except DiskFull:
                num_refused += 1
            (disk / "ballast").unlink()
            events.close()
            assert not list(output_dir.rglob(".*.partial"))
            for path in (output_dir / "checkpoints").iterdir():
                check_manifest(path)
            *_, finished = train(llama, replace(its, resume_from=newest), lambda: False)
            assert isinstance(finished, Finished)
            assert _adapter(finished) == _adapter(unbroken)
            shutil.rmtree(output_dir)
    assert 5 < num_refused < 50


def _adapter(finished: Finished) -> bytes:
    return (finished.path / "adapter_model.safetensors").read_bytes()
