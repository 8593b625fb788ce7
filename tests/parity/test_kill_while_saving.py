"""Killed at any point of a save, a run goes on from a whole checkpoint to the same bytes."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kill_points import kill_points, only_where_traced
from tests.parity import rows
from tunesmith.engine.checkpoint import check_manifest
from tunesmith.engine.events import CheckpointSaved, Finished, StepDone, TrainEvent
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train

pytestmark = [
    only_where_traced,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

Tree = tuple[tuple[str, int], ...]  # a folder's files and their sizes
NUM_POINTS = 200  # at least; each call counts before and after
EVERY_OF_ALL_WEIGHTS = 7  # points, as it writes more files; odd, so before and after calls by turns


@pytest.fixture(params=[False, True], ids=["adapter", "all weights"])
def spec(new_spec: Callable[..., TrainSpec], request: pytest.FixtureRequest) -> TrainSpec:
    """Six steps, with a checkpoint after each."""
    data = rows.without_shared_prefix(8)
    return new_spec(
        data,
        num_epochs=3,
        checkpoint_every_seconds=0,
        run_id="killed",
        trains_all_weights=request.param,
    )


@pytest.fixture
def base(llama: BaseModel, llama_folder: Path, spec: TrainSpec) -> Callable[[], BaseModel]:
    """A model for one run: whoever trains all weights needs one of its own."""
    return (lambda: BaseModel.load(llama_folder)) if spec.trains_all_weights else lambda: llama


@pytest.fixture
def unbroken(base: Callable[[], BaseModel], spec: TrainSpec) -> bytes:
    whole = replace(spec, run_id="unbroken", output_dir=spec.output_dir / "unbroken")
    *_, finished = train(base(), whole, lambda: False)
    return weights_of(finished)


def weights_of(event: TrainEvent) -> bytes:
    assert isinstance(event, Finished)
    (path,) = event.path.glob("*model.safetensors")
    return path.read_bytes()


def every(spec: TrainSpec) -> int:
    return EVERY_OF_ALL_WEIGHTS if spec.trains_all_weights else 1


def until_step(events: Iterator[TrainEvent], step: int) -> None:
    """What comes next saves a checkpoint."""
    for event in events:
        if isinstance(event, StepDone) and event.step == step:
            return


def tree_of(folder: Path) -> Tree:
    files = (path for path in folder.rglob("*") if path.is_file())
    return tuple(sorted((str(path.relative_to(folder)), path.stat().st_size) for path in files))


def newest_whole(checkpoints: Path) -> Path | None:
    """All that can be seen are whole, or this fails."""
    seen = [path for path in checkpoints.iterdir() if not path.name.startswith(".")]
    for path in seen:
        check_manifest(path)
    return max(seen, key=lambda path: int(path.name.removeprefix("step-")), default=None)


@pytest.mark.parametrize("is_saved_before", [False, True], ids=["anew", "over an earlier one"])
def test_at_each_point_of_saving_a_checkpoint(
    base: Callable[[], BaseModel],
    spec: TrainSpec,
    unbroken: bytes,
    tmp_path: Path,
    is_saved_before: bool,
) -> None:
    events = train(base(), spec, lambda: False)
    until_step(events, 4)
    checkpoints = spec.output_dir / "checkpoints"
    if is_saved_before:  # by an earlier attempt, which was killed before it could say so
        shutil.copytree(checkpoints / "step-3", checkpoints / "step-4")
    before = shutil.copytree(checkpoints, tmp_path / "before")

    def put_back() -> None:
        shutil.rmtree(checkpoints)
        shutil.copytree(before, checkpoints)

    left: dict[Tree, Path] = {}
    newest = set()
    for point in kill_points(lambda: next(events), put_back, every(spec)):
        whole = newest_whole(checkpoints)
        assert whole is not None
        newest.add(whole.name)
        tree = tree_of(checkpoints)
        if tree not in left:
            left[tree] = shutil.copytree(spec.output_dir, tmp_path / f"left-{point}")
    assert point >= NUM_POINTS
    # Only between two calls is an earlier attempt's checkpoint away, and the new one not yet there.
    unseen = {"step-3"} if is_saved_before and spec.trains_all_weights else set()
    assert newest | unseen == {"step-3", "step-4"}
    assert len(left) > (3 if spec.trains_all_weights else 5)
    events.close()

    for number, output_dir in enumerate(left.values()):
        resume_from = newest_whole(output_dir / "checkpoints")
        again = replace(
            spec, run_id=f"again-{number}", output_dir=output_dir, resume_from=resume_from
        )
        *_, finished = train(base(), again, lambda: False)
        assert weights_of(finished) == unbroken


def test_at_each_point_of_saving_the_result(
    base: Callable[[], BaseModel], spec: TrainSpec, unbroken: bytes
) -> None:
    events = train(base(), spec, lambda: False)
    for event in events:
        if isinstance(event, CheckpointSaved) and event.step == 6:
            break
    name = "model" if spec.trains_all_weights else "adapter"
    result = spec.output_dir / name

    def put_back() -> None:
        for left in spec.output_dir.glob(f"*{name}*"):
            shutil.rmtree(left)

    num_seen = num_points = 0
    for _ in kill_points(lambda: next(events), put_back, every(spec)):
        num_points += 1
        if result.exists():
            num_seen += 1
            check_manifest(result)
            (path,) = result.glob("*model.safetensors")
            assert path.read_bytes() == unbroken
    assert 0 < num_seen < num_points
    events.close()
