"""The training loss of MEM compared with chance."""

import math
from collections.abc import Sequence


def mem_training(losses: Sequence[float], *, own_pairs: bool) -> dict[str, float]:
    """The mean of the last training losses of MEM (`loss`), and the loss at chance (`chance`).

    A matching head that ignores the features predicts the share of matching pairs, and its cross entropy is the entropy
    of that share: of three pairs per utterance (its own, another of its emotion, one of another emotion) two match.

    Args:
        losses: MEM loss in the last epoch of each fit, at least one.
        own_pairs: only the own pair matches, as in the code of Li et al.: one of two pairs.
    """
    share = 1 / 2 if own_pairs else 2 / 3
    chance = -share * math.log(share) - (1 - share) * math.log(1 - share)
    return {"loss": sum(losses) / len(losses), "chance": chance}
