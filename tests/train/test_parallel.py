from pathlib import Path

import pytest

from foal.shared.settings import ExtractSettings, Settings
from foal.shared.train_settings import TrainSettings
from foal.train.course import Epoch
from foal.train.fits import FoldScore
from foal.train.run import train

QUICK = TrainSettings(
    width=16, heads=2, layers=1, epochs=2, batch_size=8, bootstrap=50, seeds=(0, 1), threads=1, device="cpu"
)


@pytest.mark.slow
def test_workers_find_what_one_process_finds_and_go_on_where_it_was(feats: Path, tmp_path: Path) -> None:
    def stop(step: Epoch | FoldScore) -> None:
        if isinstance(step, FoldScore):
            raise KeyboardInterrupt

    settings = Settings(train=QUICK, extract=ExtractSettings(workers=2))
    with pytest.raises(KeyboardInterrupt):
        train(settings, feats, tmp_path / "parallel", progress=stop)
    (done,) = (tmp_path / ".parallel.unfinished" / "fits").iterdir()
    before = done.stat()
    steps: list[Epoch | FoldScore] = []

    def check(step: Epoch | FoldScore) -> None:
        steps.append(step)
        after = done.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    metrics = train(settings, feats, tmp_path / "parallel", parallel=True, resume=True, progress=check)
    assert len(steps) == 6
    assert all(isinstance(step, FoldScore) for step in steps)
    assert metrics == train(settings, feats, tmp_path / "one")
    for name in ("metrics.json", "predictions.csv", "history.csv", "run.json", "models/seed1-fold2/model.safetensors"):
        assert (tmp_path / "parallel" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
