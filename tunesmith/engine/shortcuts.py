"""Ways to compute the same with less work, each of which can be switched off to be measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcuts:
    """Those that a forward of a packed batch may take; `pack` has `shares_prefixes` beside them.

    A model for which one of them does not hold, as a trial shows, has it switched off.
    """

    tiled_attention: bool = True  # short segments by plain products, on a CPU
    supervised_rows: bool = True  # logits only where a target is predicted
    fused_head: bool = True  # and never all of them at once
    narrow_last_layer: bool = True  # in the last layer only keys and values of all tokens
    lean_layers: bool = True  # less is kept for the backward between the linear layers
    round_sizes: bool = True  # few shapes, for each of which a CPU's library makes code
