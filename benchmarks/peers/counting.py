"""Count the original examples and tokens of a trainer's steps, where its batches are collated."""

from typing import Any

from transformers import TrainerCallback

from benchmarks.meter import Meter


class Counter(TrainerCallback):  # type: ignore[misc]
    """Batches are collated ahead of their step, but in order: a step takes the next few."""

    def __init__(self, meter: Meter, trainer: Any, accumulation: int, *, is_dpo: bool) -> None:
        self._meter = meter
        self._accumulation = accumulation
        self._is_dpo = is_dpo
        self._counts: list[tuple[int, int]] = []  # examples and tokens of each batch
        self._num_taken = 0
        collate = trainer.data_collator

        def counted(rows: list[dict[str, Any]]) -> Any:
            batch = collate(rows)
            self._counts.append(_counts(batch, is_dpo=is_dpo))
            return batch

        trainer.data_collator = counted

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        taken = self._counts[self._num_taken :][: self._accumulation]
        self._num_taken += len(taken)
        self._meter.step_ended(sum(c[0] for c in taken), sum(c[1] for c in taken))


def _counts(batch: Any, *, is_dpo: bool) -> tuple[int, int]:
    token_ids, mask = batch["input_ids"], batch.get("attention_mask")
    num_tokens = int(mask.sum()) if mask is not None else token_ids.numel()
    if mask is None and "position_ids" in batch:  # packed: an example begins at each 0
        return int((batch["position_ids"] == 0).sum()), num_tokens
    return len(token_ids) // (2 if is_dpo else 1), num_tokens
