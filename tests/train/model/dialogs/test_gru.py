"""The GRU over the turns of dialogs."""

import pytest
import torch
from torch import nn

from foal.train.model.dialogs.gru import run_packed


@pytest.mark.parametrize("both", [False, True])
def test_a_packed_gru_equals_the_gru_over_each_dialog(both: bool) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(4, 3, bidirectional=both)
    x, counts = torch.randn(7, 4), [2, 4, 1]
    with torch.no_grad():
        expected = torch.cat([gru(dialog)[0] for dialog in x.split(counts)])
        torch.testing.assert_close(run_packed(gru, x, counts), expected)
