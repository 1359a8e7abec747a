"""The layers whose hidden states are stored: resolved and checked by the depth of a model."""

from ...shared.errors import EncoderError

Layers = str | tuple[int, ...]
"""last, mean, all, or the numbers of layers; 0 is the input of the first layer."""


def resolve_layers(layers: Layers, depth: int, name: str, key: str) -> Layers:
    """Resolve negative layer numbers.

    Args:
        layers: as in the settings; -1 is the last layer.
        depth: number of layers of the model.
        name: name of the encoder, for messages.
        key: the settings key, for messages.

    Raises:
        EncoderError: a layer that the model does not have, no layer, or one twice.
    """
    if isinstance(layers, str):
        return layers
    for layer in layers:
        if not -depth - 1 <= layer <= depth:
            raise EncoderError(
                f"{name} has {depth} layers: expected numbers from 0 (the input of the first) to {depth} in {key}, "
                f"got {layer}"
            )
    chosen = tuple(layer % (depth + 1) for layer in layers)
    if not chosen or len(set(chosen)) < len(chosen):
        got = ", ".join(map(str, layers)) or "none"
        raise EncoderError(f"{key}: expected at least one layer and no duplicates, got {got}")
    return chosen


def layer_shape(layers: Layers, count: int) -> tuple[int, ...]:
    """The dimension of the layers in a frame, () or (layers,); `count`: hidden states of the model."""
    if layers in ("last", "mean"):
        return ()
    return (count if isinstance(layers, str) else len(layers),)
