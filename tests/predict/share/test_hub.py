"""`foal.load` and the mixin of the Hugging Face hub, with local folders."""

from pathlib import Path

import numpy as np

from foal.predict.share.hub import FoalModel
from foal.tests.predict.small_run import FILES, probabilities


def test_a_round_trip_through_the_mixin_of_the_hub(run: Path, exported: Path, tmp_path: Path) -> None:
    new = run.parent / "new" / "feats.h5"
    model = FoalModel.from_pretrained(exported)
    model.save_pretrained(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == FILES
    again = FoalModel.from_pretrained(str(tmp_path / "saved"))
    assert again.classes == ("hap", "sad")
    np.testing.assert_array_equal(again.predict_features(new).probabilities, probabilities(run, new))
