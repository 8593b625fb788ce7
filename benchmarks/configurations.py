"""What is measured against what: our engine, the peers' settings, and the rows of the ablation."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import Program

EXAMPLES_PER_STEP = 16
PACKED_TOKENS = 1024  # of a packed row


@dataclass(frozen=True, kw_only=True, eq=False)
class Configuration:
    """A way to train; compilers need more steps before they are measured."""

    name: str
    program: Program
    options: dict[str, Any] = field(default_factory=dict)
    warmup_steps: int = 1
    precision: str = "bf16"
    allocator: bool = True  # glibc keeps large blocks, as hosts are started


OURS = Configuration(name="tunesmith", program=Program("benchmarks.ours"))
_TRL = Program("benchmarks.peers.trl", "trl")
_UNSLOTH = Program("benchmarks.peers.unsloth", "unsloth")
_COMPILED = Program("benchmarks.peers.unsloth", "unsloth", {"UNSLOTH_CPU_COMPILE": "1"})
_SPLITS = ((16, 1), (4, 4))  # examples in a forward, forwards in a step
_BY_LENGTH = "group_by_length"


def peers(method: str, mean_tokens: float) -> list[Configuration]:
    """The settings that can be a peer's best; `mean_tokens` are those of an example.

    One example at a time never was, nor was TRL with all sixteen at once.
    """
    trl = [_peer("TRL", _TRL, 4, 4), _peer("TRL", _TRL, 4, 4, sampling=_BY_LENGTH)]
    if method == "supervised":
        rows = max(1, round(EXAMPLES_PER_STEP * mean_tokens / PACKED_TOKENS))
        trl.append(_peer("TRL", _TRL, 1, rows, packing=PACKED_TOKENS))
    unsloth = [_peer("Unsloth", _UNSLOTH, *split) for split in _SPLITS]
    unsloth.append(_peer("Unsloth", _UNSLOTH, 4, 4, sampling=_BY_LENGTH))
    compiled = [_peer("Unsloth compiled", _COMPILED, *split, warmup_steps=2) for split in _SPLITS]
    return [*trl, *unsloth, *compiled]


def quick_peers() -> list[Configuration]:
    return [_peer("TRL", _TRL, 4, 4), _peer("Unsloth", _UNSLOTH, 4, 4)]


def small_job_peers(batch: int) -> list[Configuration]:
    """For jobs whose start-up counts: what compiles is out of the question."""
    return [_peer("TRL", _TRL, batch, 1), _peer("Unsloth", _UNSLOTH, batch, 1)]


def ablation() -> list[Configuration]:
    """From the padded textbook to all that there is, one technique more in each row; then all but
    one.
    """
    textbook = Program("benchmarks.textbook")
    unshared = {"constants": {"tunesmith.engine.trie:MIN_SHARED_TOKENS": 1_000_000}}
    row = Configuration
    return [
        row(name="padded textbook, fp32", program=textbook, precision="fp32", allocator=False),
        row(name="+ large blocks kept", program=textbook, precision="fp32"),
        row(name="+ bf16", program=textbook),
        row(
            name="+ packed, logits of supervised tokens alone",
            program=OURS.program,
            options=unshared,
        ),
        row(name="+ shared prefixes once", program=OURS.program),
        row(name="all, without large blocks kept", program=OURS.program, allocator=False),
        row(name="all, without bf16", program=OURS.program, precision="fp32"),
        *(_without(name, shortcuts) for name, shortcuts in _SHORTCUTS.items()),
    ]


_SHORTCUTS = {
    "attention in tiles": ["tiled_attention"],
    "the head that keeps no logits": ["fused_head"],
    "logits of supervised tokens alone": ["fused_head", "supervised_rows"],
    "the narrow last layer": ["narrow_last_layer"],
    "layers that keep less": ["lean_layers"],
    "round sizes": ["round_sizes"],
}


def _without(name: str, shortcuts: list[str]) -> Configuration:
    return Configuration(
        name=f"all, without {name}", program=OURS.program, options={"without": shortcuts}
    )


def _peer(
    peer: str,
    program: Program,
    batch: int,
    accumulation: int,
    *,
    warmup_steps: int = 1,
    **more: Any,
) -> Configuration:
    name = f"{peer} {batch}×{accumulation}"  # noqa: RUF001
    if more.get("sampling"):
        name += " by length"
    if more.get("packing"):
        name += " packed"
    options = {"batch": batch, "accumulation": accumulation, **more}
    return Configuration(name=name, program=program, options=options, warmup_steps=warmup_steps)
