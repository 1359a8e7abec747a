"""Checks of fusion options that depend on the network: the stream that leads, and the width of attention heads."""

from collections.abc import Sequence

from ....shared.errors import TrainingError
from ...data.streams import modality_of


def leading_stream(names: Sequence[str], chosen: str | None, option: str) -> str:
    """The chosen stream; without a choice the first one of text, else of audio, else the first one.

    Args:
        names: the streams of the network, in order.
        chosen: value of the option.
        option: its name, for the message.

    Raises:
        TrainingError: there is no such stream.
    """
    if chosen is None:
        by_modality = {modality_of(name): name for name in reversed(names)}
        return by_modality.get("text") or by_modality.get("audio") or names[0]
    if chosen not in names:
        raise TrainingError(
            f"train.fusion_options.{option}: expected one of the streams {', '.join(names)}, got {chosen!r}; change it "
            "or add this stream to train.streams"
        )
    return chosen


def check_heads(width: int, heads: int) -> None:
    """Raise TrainingError unless the attention heads of a fusion divide the width."""
    if width % heads:
        raise TrainingError(
            f"train.fusion_options.heads: expected heads that divide the width {width}, got {heads}; change it or "
            "train.width"
        )
