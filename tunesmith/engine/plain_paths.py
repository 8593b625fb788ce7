"""Which shortcuts a model does not allow, in sentences for a person."""

from tunesmith.engine.lean_layers import is_known
from tunesmith.engine.model import BaseModel


def sentences(model: BaseModel) -> list[str]:
    """Of a model whose examples are packed, once a trial has shown what holds for it."""
    if model.whole is not None:
        return [
            "All weights are trained: logits and layers are computed in the plain way, and keep "
            "all that they compute for the backward."
        ]
    told = []
    if not model.shortcuts.fused_head:
        told.append(
            "Logits are computed in the plain way, and kept: the output head is no plain linear "
            "layer, or something stands behind it."
        )
    if not _are_lean(model):
        told.append(
            "The layers are of no kind that is known here: they keep all that they compute for the "
            "backward, and the last one is computed for all tokens, its MLP aside."
        )
    elif not model.shortcuts.narrow_last_layer:
        told.append("The last layer is computed for all tokens: it answers differently for some.")
    return told


def _are_lean(model: BaseModel) -> bool:
    layers = getattr(model.network.get_decoder(), "layers", ())
    return model.shortcuts.lean_layers and len(layers) > 0 and all(map(is_known, layers))
