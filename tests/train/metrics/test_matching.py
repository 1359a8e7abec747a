import math

import pytest
import torch

from foal.train.metrics.matching import mem_training
from foal.train.model.losses import mem_loss


@pytest.mark.parametrize(("own_pairs", "matches"), [(False, [True, False, True]), (True, [True, False])])
def test_chance_is_the_lowest_loss_of_constant_logits(own_pairs: bool, matches: list[bool]) -> None:
    table = torch.tensor(matches)[:, None].expand(len(matches), 5)
    shares = torch.linspace(0.01, 0.99, 981)
    logits = torch.stack([(1 - shares).log(), shares.log()], -1)
    counted = torch.ones_like(table)
    lowest = min(mem_loss(pair.expand(len(matches), 5, 2), table, counted).item() for pair in logits)
    result = mem_training([0.5, 0.7], own_pairs=own_pairs)
    assert result["chance"] == pytest.approx(lowest, abs=1e-5)
    assert result["loss"] == pytest.approx(0.6)
    assert mem_training([1.0], own_pairs=True)["chance"] == pytest.approx(math.log(2))
