"""The losses of the training methods on a packed batch, and the figures that come with them."""

from dataclasses import astuple, dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tunesmith.engine.packing import PackedBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Means over a step's rows, or over those of an evaluation.

    The rewards are DPO's alone, as is `reward_accuracy`: the share of pairs whose chosen answer
    has the higher one.
    """

    loss: float
    token_accuracy: float
    chosen_reward: float | None = None
    rejected_reward: float | None = None
    reward_accuracy: float | None = None

    @property
    def reward_margin(self) -> float | None:
        if self.chosen_reward is None or self.rejected_reward is None:
            return None
        return self.chosen_reward - self.rejected_reward


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over a batch, so that batches of any size can be added up exactly."""

    loss: float = 0.0
    num_correct: float = 0.0
    num_tokens: int = 0  # that could have been correct
    chosen_reward: float = 0.0
    rejected_reward: float = 0.0
    num_ordered: float = 0.0  # pairs whose rewards are in the right order
    num_pairs: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        sums = map(sum, zip(astuple(self), astuple(other), strict=True))
        return Totals(**dict(zip(self.__slots__, sums, strict=True)))

    def means(self) -> Figures:
        pairs = self.num_pairs
        return Figures(
            loss=self.loss / (pairs or self.num_tokens),
            token_accuracy=self.num_correct / self.num_tokens,
            chosen_reward=self.chosen_reward / pairs if pairs else None,
            rejected_reward=self.rejected_reward / pairs if pairs else None,
            reward_accuracy=self.num_ordered / pairs if pairs else None,
        )


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the model says of each target of a batch."""

    logprobs: Tensor
    is_correct: Tensor  # the target is the most likely token

    @classmethod
    def by(cls, logits: Tensor, batch: PackedBatch) -> "Predicted":
        """`logits` are those of the `logit_positions`; several targets may share a row."""
        rows = torch.tensor(batch.target_rows, device=logits.device)
        targets = torch.tensor(batch.targets, device=logits.device)
        log_probabilities = torch.log_softmax(logits.float(), dim=-1)
        with torch.no_grad():
            is_correct = log_probabilities.argmax(-1)[rows] == targets
        return cls(log_probabilities[rows, targets], is_correct)


def cross_entropy(predicted: Predicted) -> tuple[Tensor, Totals]:
    """The sum over the targets, in nats."""
    loss = -predicted.logprobs.sum()
    totals = Totals(
        loss=float(loss.detach()),
        num_correct=float(predicted.is_correct.sum()),
        num_tokens=len(predicted.logprobs),
    )
    return loss, totals


def answer_logprobs(predicted: Predicted, batch: PackedBatch) -> Tensor:
    """Of a batch of pairs, (pairs, 2): the log-probabilities of the chosen and the rejected."""
    sums = [part.sum() for part in torch.split(predicted.logprobs, batch.num_targets)]
    return torch.stack(sums).view(-1, 2)


def preference(
    predicted: Predicted, batch: PackedBatch, reference: Tensor, beta: float
) -> tuple[Tensor, Totals]:
    """The sum over the pairs of DPO's loss (Rafailov et al. 2023, arXiv 2305.18290, equation 7).

    An answer's reward is beta times the log-ratio of its probability to that under the reference
    model, `reference` (pairs, 2). The token accuracy is that of the chosen answers.
    """
    rewards = beta * (answer_logprobs(predicted, batch) - reference)
    chosen, rejected = rewards.unbind(1)
    loss = -logsigmoid(chosen - rejected).sum()
    chosen_tokens = torch.split(predicted.is_correct, batch.num_targets)[::2]
    totals = Totals(
        loss=float(loss.detach()),
        num_correct=float(torch.cat(chosen_tokens).sum()),
        num_tokens=sum(batch.num_targets[::2]),
        chosen_reward=float(chosen.detach().sum()),
        rejected_reward=float(rejected.detach().sum()),
        num_ordered=float((chosen > rejected).sum()),
        num_pairs=len(rewards),
    )
    return loss, totals
