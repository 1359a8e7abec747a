"""`FoalModel.predict`: files, and the same clip as arrays."""

from pathlib import Path

import av
import numpy as np
import pytest

import foal
from foal.shared.errors import UsageError
from foal.tests.predict.small_model import RATE, train_run, write_clip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> foal.FoalModel:
    return foal.load(train_run(tmp_path_factory.mktemp("media")))


@pytest.mark.usefixtures("library_logging")
def test_a_file_and_its_arrays_give_equal_probabilities(
    model: foal.FoalModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip.mkv")
    with av.open(str(clip)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.uint8)
    with av.open(str(clip)) as container:
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)[0]
    predictions = model.predict(clip, cache=tmp_path / "cache")
    (row,) = predictions.rows
    assert row["predicted"] == max(model.classes, key=lambda name: row[f"p_{name}"])
    assert predictions.failures == {}
    assert list(predictions.table["id"]) == ["clip.mkv"]
    (again,) = model.predict(waveform=sound, sample_rate_hz=RATE, frames=frames, fps=10).rows
    for name in model.classes:
        assert again[f"p_{name}"] == pytest.approx(row[f"p_{name}"], abs=1e-5)
    (deaf,) = model.predict(frames=frames, fps=10).rows
    assert deaf["missing"].startswith("audio")
    assert capfd.readouterr().out == ""


def test_files_or_arrays_are_expected(model: foal.FoalModel) -> None:
    with pytest.raises(UsageError, match="got both or neither"):
        model.predict()
    with pytest.raises(UsageError, match="got both or neither"):
        model.predict("clip.mp4", waveform=np.zeros(4), sample_rate_hz=RATE)
