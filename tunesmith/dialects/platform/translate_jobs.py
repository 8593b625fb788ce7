"""A job as the platform API asks for it -> a job of ours."""

from uuid import UUID

from tunesmith.dialects.platform import schemas
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.hyperparameters import AUTO, Hyperparameters, Method, Schedule
from tunesmith.domain.jobs import NewJob

_OF_LORA = ("loraRank", "loraAlpha", "loraDropout", "loraTargets", "useRslora")


def new_job(body: schemas.CreateJob, training: UUID, validation: UUID | None) -> NewJob:
    asked = body.hyperparameters or schemas.Hyperparameters.model_validate({})
    trains_all = body.method == "full"
    _check_meant(asked, body, trains_all=trains_all)
    usual_rate = (
        schemas.DEFAULT_LEARNING_RATE_OF_ALL if trains_all else schemas.DEFAULT_LEARNING_RATE
    )
    return NewJob(
        name=body.name,
        description=body.description,
        base_model=body.baseModel,
        training_file_id=training,
        training_reference=body.trainingDataset,
        validation_file_id=validation,
        validation_reference=body.validationFile,
        hyperparameters=Hyperparameters(
            num_epochs=asked.epochs or schemas.DEFAULT_EPOCHS,
            learning_rate=asked.learningRate or usual_rate,
            batch_size=asked.batchSize or schemas.DEFAULT_BATCH_SIZE,
            warmup_steps=asked.warmupSteps or schemas.DEFAULT_WARMUP_STEPS,
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
        suffix=body.suffix,
        needs_deployment=True,
    )


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
