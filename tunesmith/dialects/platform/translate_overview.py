"""Wire <-> domain: how far jobs are, what waits, what answers, and what a job would take."""

from typing import Any

from tunesmith.dialects.platform import schemas_overview as wire
from tunesmith.dialects.platform import translate
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.estimates import EstimateRange
from tunesmith.domain.hyperparameters import Hyperparameters, Method
from tunesmith.domain.jobs import Job
from tunesmith.domain.models import DeployedModel
from tunesmith.domain.usage import Spent
from tunesmith.services.queue_report import Explanation
from tunesmith.services.usage import AnswersUsage

_FIGURES = {
    "trainingLoss": "train_loss",
    "trainingAccuracy": "train_token_accuracy",
    "learningRate": "learning_rate",
    "gradientNorm": "grad_norm",
    "rewardMargin": "reward_margin",
    "tokens": "tokens",
    "seconds": "seconds",
}


def job_item_with_progress(job: Job) -> wire.JobItemWithProgress:
    progress, finish = job.progress, job.estimated_finish_at
    return wire.JobItemWithProgress(
        **translate.item(job),
        progress=wire.Progress(
            phase=job.status,
            pausing=job.is_pause_wanted,
            step=0 if progress is None else progress.step,
            totalSteps=None if progress is None else progress.total_steps,
            trainingLoss=None if progress is None else progress.train_loss,
            validationLoss=None if progress is None else progress.validation_loss,
            estimatedFinishAt=None if finish is None else translate.seconds(finish),
            resultModel=job.model_name,
            error=translate.error(job),
        ),
    )


def estimated(
    base: BaseModel,
    examples: int,
    made: EstimateRange,
    resolved: Hyperparameters,
    method: Method,
) -> wire.EstimateRange:
    epochs, batch_size = resolved.num_epochs, resolved.batch_size
    assert isinstance(epochs, int)
    assert isinstance(batch_size, int)
    likely = made.likely
    three = (made.low, likely, made.high)
    return wire.EstimateRange(
        baseModel=base.name,
        examples=examples,
        tokensPerExample=likely.tokens_per_example,
        tokens=round(examples * epochs * likely.tokens_per_example),
        minutes=wire.MinutesRange(**_named(one.minutes for one in three)),
        cost=wire.CostRange(**_named(one.cost for one in three)),
        currency="USD",
        device=likely.pace.device,
        tokensPerSecond=likely.pace.tokens_per_second,
        isMeasured=likely.pace.is_measured,
        hyperparameters=wire.Resolved(
            epochs=epochs,
            batchSize=batch_size,
            learningRate=base.learning_rate * resolved.learning_rate_share(method),
            steps=epochs * -(-examples // batch_size),
        ),
    )


def _named(values: Any) -> dict[str, Any]:
    return dict(zip(("low", "likely", "high"), values, strict=True))


def point(figures: dict[str, Any]) -> wire.CurvePoint:
    return wire.CurvePoint(
        step=int(figures["step"]),
        validationLoss=figures.get("full_validation_loss", figures.get("validation_loss")),
        validationAccuracy=figures.get(
            "full_validation_token_accuracy", figures.get("validation_token_accuracy")
        ),
        **{outer: figures.get(inner) for outer, inner in _FIGURES.items()},
    )


def waiting(one: Explanation, name: str) -> wire.WaitingJob:
    return wire.WaitingJob(
        jobId=translate.outer_job_id(one.job_id),
        name=name,
        baseModel=one.base_model,
        task=one.task.value,
        priority=one.priority,
        position=one.position,
        reason=one.reason,
        startsWhen=one.starts_when,
        notBefore=None if one.not_before is None else translate.seconds(one.not_before),
    )


def model(one: DeployedModel) -> wire.Model:
    deployed_at = one.deployment.deployed_at
    model = one.model
    return wire.Model(
        id=one.deployment.name,
        baseModel=model.base_model,
        jobId=None if model.job_id is None else translate.outer_job_id(model.job_id),
        bytes=sum(artifact.blob.size_bytes for artifact in model.artifacts),
        deployed=deployed_at is not None,
        deployedAt=None if deployed_at is None else translate.seconds(deployed_at),
        createdAt=translate.seconds(model.created_at),
    )


def answers_usage(found: AnswersUsage) -> wire.AnswersUsage:
    return wire.AnswersUsage(
        total=wire.Spent(**_spent(sum(found.by_day.values(), Spent()))),
        days=[wire.DayOfAnswers(date=str(day), **_spent(n)) for day, n in found.by_day.items()],
        models=[wire.ModelsAnswers(model=name, **_spent(n)) for name, n in found.by_model.items()],
        keys=[
            wire.KeysAnswers(
                keyId=None if key is None else str(key.id),
                name=None if key is None else key.name,
                keyPrefix=None if key is None else key.visible_prefix,
                **_spent(n),
            )
            for key, n in found.by_key.items()
        ],
    )


def _spent(spent: Spent) -> dict[str, int]:
    return {
        "requests": spent.requests,
        "promptTokens": spent.prompt_tokens,
        "completionTokens": spent.completion_tokens,
    }
