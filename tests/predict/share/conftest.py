"""A run with final networks, and its export."""

from pathlib import Path

import pytest

from foal.predict.share.folder import export_model
from foal.predict.trained import load_trained
from foal.shared.utterance import Utterance
from foal.tests.predict.small_run import MakeFeatures, index_of, other_corpus, settings
from foal.train.run import train


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("share")


@pytest.fixture
def run(workspace: Path, sample_utterances: list[Utterance], make_features: MakeFeatures) -> Path:
    """A run of three folds and two seeds, with final networks; created once, read only."""
    folder = workspace / "run"
    if not folder.exists():
        train(settings(), index_of(workspace, sample_utterances, make_features), folder, final=True)
        index_of(workspace / "new", other_corpus(sample_utterances[:6], speaker=""), make_features, seed=1)
    return folder


@pytest.fixture
def exported(run: Path) -> Path:
    """The export of all networks of the folds; read only."""
    folder = run.parent / "exported"
    if not folder.exists():
        export_model(load_trained(run), folder, license_id="cc-by-4.0")
    return folder
