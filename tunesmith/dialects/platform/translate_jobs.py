"""A job as the platform API asks for it -> a job of ours."""

from typing import Any
from uuid import UUID

from tunesmith.dialects.platform import schemas
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.hyperparameters import AUTO, Hyperparameters, Method, Schedule
from tunesmith.domain.jobs import NewJob
from tunesmith.domain.models import TunedModel

_OF_LORA = ("loraRank", "loraAlpha", "loraDropout", "loraTargets", "useRslora")


def new_job(
    body: schemas.CreateJob, training: UUID, validation: UUID | None, initial: TunedModel | None
) -> NewJob:
    """`initial` is the tuned model that the body names, if it does name one."""
    asked = body.hyperparameters or schemas.Hyperparameters.model_validate({})
    trains_all = body.method == "full"
    _check_meant(asked, body, trains_all=trains_all)
    return NewJob(
        name=body.name,
        description=body.description,
        base_model=initial.base_model if initial else body.baseModel,
        initial_model=initial,
        training_file_id=training,
        training_reference=body.trainingDataset,
        validation_file_id=validation,
        validation_reference=body.validationFile,
        hyperparameters=Hyperparameters(
            **_steps_and_rate(asked, trains_all=trains_all),
            learning_rate_multiplier=1.0,
            lora_rank=asked.loraRank,
            lora_alpha=asked.loraAlpha,
            lora_dropout=asked.loraDropout,
            lora_targets=tuple(asked.loraTargets),
            use_rslora=asked.useRslora,
            lr_schedule=Schedule(asked.learningRateSchedule),
            weight_decay=asked.weightDecay,
            max_grad_norm=asked.maxGradNorm,
            early_stopping_patience=asked.earlyStoppingPatience,
            beta=asked.beta or AUTO,
            trains_all_weights=trains_all,
        ),
        method=method(body),
        seed=body.seed,
        suffix=body.suffix,
        needs_deployment=not body.deploy,
    )


def _steps_and_rate(asked: schemas.Hyperparameters, *, trains_all: bool) -> dict[str, Any]:
    usual_rate = (
        schemas.DEFAULT_LEARNING_RATE_OF_ALL if trains_all else schemas.DEFAULT_LEARNING_RATE
    )
    warmup_steps = None if asked.auto else schemas.DEFAULT_WARMUP_STEPS
    return {
        "num_epochs": asked.epochs or (AUTO if asked.auto else schemas.DEFAULT_EPOCHS),
        "batch_size": asked.batchSize or (AUTO if asked.auto else schemas.DEFAULT_BATCH_SIZE),
        "learning_rate": asked.learningRate or (None if asked.auto else usual_rate),
        "warmup_steps": warmup_steps if asked.warmupSteps is None else asked.warmupSteps,
    }


def method(body: schemas.CreateJob) -> Method:
    return Method(body.objective or Method.SUPERVISED)


def _check_meant(
    asked: schemas.Hyperparameters, body: schemas.CreateJob, *, trains_all: bool
) -> None:
    """Nothing that would be without effect is passed over."""
    if asked.beta is not None and body.objective != "dpo":
        raise InvalidRequest("beta: of the objective dpo alone.", param="hyperparameters.beta")
    of_lora = [name for name in asked.model_fields_set if name in _OF_LORA]
    if trains_all and of_lora:
        raise InvalidRequest(
            f"{of_lora[0]}: of the method lora alone; full trains all weights, and no adapter.",
            param=f"hyperparameters.{of_lora[0]}",
        )
