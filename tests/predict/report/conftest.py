"""A run over the synthetic corpus with its evaluation, and a page of it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from foal.predict.report.page import write_report
from foal.predict.report.sources import Source, read_source
from foal.shared.config.settings import CorpusSettings, Settings
from foal.shared.config.train_settings import TrainSettings
from foal.shared.manifest import read_manifest
from foal.shared.store.index_writer import write_index
from foal.tests.figures import save_blank
from foal.train.evaluate.run import evaluate
from foal.train.run import train

QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8, bootstrap=50, seeds=(0, 1))
KEYS = {"audio": "0" * 64, "face": "0" * 64}
MISTAKES = 5


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture
def run(
    workspace: Path, synthetic_corpus: Path, make_features: Callable[..., Path], foal_in: Callable[..., object]
) -> Path:
    """A run of two seeds over five sessions with random features, and its evaluation; created once, read only."""
    if not (workspace / "run").exists():
        foal_in(workspace, "manifest", "synthetic", synthetic_corpus, "-o", "m.csv")
        utterances, index = read_manifest(workspace / "m.csv"), workspace / "feats.h5"
        write_index(index, utterances, make_features(workspace / "features", utterances), KEYS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Figure, "savefig", save_blank)
            settings = Settings(train=QUICK)
            train(settings, index, workspace / "run")
            evaluate(settings, workspace / "run", index, workspace / "run" / "evaluation")
    return workspace / "run"


@pytest.fixture
def source(run: Path) -> Source:
    return read_source(run)


@pytest.fixture
def settings(run: Path, synthetic_corpus: Path) -> Settings:
    return Settings(index=run.parent / "feats.h5", corpus=CorpusSettings(root=synthetic_corpus))


@pytest.fixture
def page(run: Path, source: Source, settings: Settings) -> Path:
    """The page of the run with embedded media; written once, read only."""
    path = run.parent / "report.html"
    if not path.exists():
        write_report(path, source, settings, media="embed", count=MISTAKES, required=True)
    return path
