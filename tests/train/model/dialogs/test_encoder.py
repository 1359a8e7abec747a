"""The GRU over the turns of dialogs."""

import pytest
import torch

from foal.train.model.dialogs.encoder import GruEncoder


@pytest.mark.parametrize("both", [False, True])
def test_nothing_passes_between_dialogs_or_back_in_time(both: bool) -> None:
    torch.manual_seed(0)
    encoder = GruEncoder(inputs=2, width=4, dropout=0.0, both=both).eval()
    streams = {name: torch.randn(5, 4) for name in ("audio", "face")}
    changed = {**streams, "face": streams["face"].clone()}
    changed["face"][1] += 1.0
    with torch.no_grad():
        before, after = encoder(streams, [3, 2]), encoder(changed, [3, 2])
    assert before.shape == (5, encoder.width)
    differs = (before != after).any(1).tolist()
    assert differs == [both, True, True, False, False]
