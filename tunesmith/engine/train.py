"""The training loop: one run, told step by step, whoever else trains beside it."""

import math
import time
from collections.abc import Callable, Generator
from dataclasses import replace

from tunesmith.engine import examples
from tunesmith.engine.checkpoint import resume, save_checkpoint, save_result
from tunesmith.engine.errors import Diverged
from tunesmith.engine.evaluate import evaluate
from tunesmith.engine.events import (
    CheckpointSaved,
    DataRead,
    EndedEarly,
    Evaluating,
    Finished,
    Healed,
    Reading,
    Started,
    StepDone,
    Stopped,
    TrainEvent,
)
from tunesmith.engine.healing import check_loss, rolled_back
from tunesmith.engine.model import BaseModel
from tunesmith.engine.passes import Answer, Wanted, alone
from tunesmith.engine.run import Run, close_run, open_run
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.step import clip_gradient, forward_backward, optim_step


def train(
    model: BaseModel, spec: TrainSpec, should_stop: Callable[[], bool]
) -> Generator[TrainEvent, None, None]:
    """Fine-tune with the model to itself; see `training`."""
    return alone(model, training(model, spec, should_stop))


def training(
    model: BaseModel, spec: TrainSpec, should_stop: Callable[[], bool]
) -> Generator[TrainEvent | Wanted, Answer, None]:
    """Fine-tune one adapter, telling what happens as it happens, and asking for each pass through
    the model: whoever drives the generator may serve several runs with one.

    While the generator lives, the adapter answers under `run_id`. Raises BadExample,
    BadAdapter, BadCheckpoint, OutOfMemory and Diverged.
    """
    run = open_run(model, spec)
    try:
        if spec.resume_from is not None:
            resume(run, spec.resume_from)
        yield _started(run)
        saved_at = time.monotonic()
        checkpoint = spec.resume_from  # of the step just done, if it was saved
        while not run.is_complete:
            if should_stop():
                if checkpoint is None and run.step > 0:
                    checkpoint = save_checkpoint(run)
                yield Stopped(step=run.step, path=checkpoint)
                return
            checkpoint = None
            try:
                done = yield from train_step(run)
                done = yield from _evaluated(run, done)
            except Diverged as error:
                healed = rolled_back(run, error)
                yield healed
                continue
            yield done
            yield from _reading_on(run)
            epoch = run.order.epoch_ended_by(run.step)
            is_due = time.monotonic() - saved_at >= spec.checkpoint_every_seconds
            if epoch is not None or is_due:
                checkpoint = save_checkpoint(run)
                yield CheckpointSaved(step=run.step, epoch=epoch, path=checkpoint)
                saved_at = time.monotonic()
        if run.step < run.order.total_steps:
            yield _ended_early(run)
        yield Finished(step=run.step, path=save_result(run), trained_tokens=run.trained_tokens)
    finally:
        close_run(run)


def train_step(run: Run) -> Generator[Wanted | Healed, Answer, StepDone]:
    """One optimizer step on the next batch; raises Diverged before it would spoil the weights.

    Loss and gradient tell whether the steps before left good weights, so these are kept only now.
    """
    seconds_before, generator = run.seconds, run.generator.get_state()
    rows = run.batch(run.step + 1)
    num_tokens = sum(map(examples.num_tokens, rows))
    figures = yield from forward_backward(run, run.micro_batches(rows))
    grad_norm = clip_gradient(run)
    losses = run.losses.with_next(figures.loss, grad_norm)
    check_loss(run, figures.loss, losses)
    if run.is_good_moment and not losses.num_troubled:
        run.last_good = run.snapshot(generator)
    learning_rate = optim_step(run)
    run.losses = losses
    run.trained_tokens += num_tokens
    return StepDone(
        step=run.step,
        total_steps=run.order.total_steps,
        epoch=run.step / run.order.steps_per_epoch,
        loss=figures.loss,
        token_accuracy=figures.token_accuracy,
        learning_rate=learning_rate,
        grad_norm=grad_norm,
        num_tokens=num_tokens,
        seconds=run.seconds - seconds_before,
        chosen_reward=figures.chosen_reward,
        rejected_reward=figures.rejected_reward,
        reward_accuracy=figures.reward_accuracy,
        reward_margin=figures.reward_margin,
    )


def _started(run: Run) -> Started:
    validation = run.validation
    return Started(
        step=run.step,
        total_steps=run.order.total_steps,
        num_examples=len(run.training),
        num_validation_examples=len(validation) if validation else 0,
        notes=run.notes,
    )


def _reading(run: Run) -> Generator[Reading, Answer, None]:
    while (reading := run.read_on()) is not None:
        yield reading


def _reading_on(run: Run) -> Generator[Reading | DataRead, Answer, None]:
    """A part of what is still unread, by turns with the steps, which thus begin early."""
    was_read = run.training.is_read
    if run.order.epoch_ended_by(run.step) is not None:
        yield from _reading(run)
    elif (reading := run.read_on()) is not None:
        yield reading
    if run.training.is_read and not was_read:
        yield _data_read(run)


def _data_read(run: Run) -> DataRead:
    training, notes = run.training, []
    if training.num_texts_more:
        notes.append(
            "The chat template writes a conversation's beginning in another way once more follows, "
            f"so {training.num_texts_more} answers are learned in texts of their own, each behind "
            "what the model would be asked."
        )
    if training.num_lost_tokens:
        notes.append(
            f"{training.num_lost_tokens} tokens that should have been learned lie beyond the limit "
            f"of {run.max_length_tokens} tokens, and are not."
        )
    return DataRead(
        num_examples=len(training),
        tokens_per_epoch=training.num_tokens,
        supervised_tokens_per_epoch=training.num_supervised_tokens,
        num_truncated_examples=training.num_truncated,
        mask_sha256=training.mask_sha256,
        notes=tuple(notes),
    )


def _ended_early(run: Run) -> EndedEarly:
    return EndedEarly(
        step=run.step,
        total_steps=run.order.total_steps,
        num_evaluations=run.evaluations_without_better,
        best_validation_loss=run.best_validation_loss,
    )


def _evaluated(
    run: Run, done: StepDone
) -> Generator[Evaluating | Healed | Wanted, Answer, StepDone]:
    """The step with its validation figures, where some are due; raises Diverged."""
    if run.validation is None:
        return done
    if run.step % run.spec.evaluation_batch_steps == 0:
        sample = yield from evaluate(run, run.validation_sample)
        done = replace(
            done, validation_loss=sample.loss, validation_token_accuracy=sample.token_accuracy
        )
    if run.order.epoch_ended_by(run.step) is not None:
        full = yield from evaluate(run, run.validation.rows)
        if not math.isfinite(full.loss):
            raise Diverged(f"The validation loss after step {run.step} is not finite.")
        run.note_validation_loss(full.loss)
        done = replace(
            done,
            full_validation_loss=full.loss,
            full_validation_token_accuracy=full.token_accuracy,
        )
    return done
