"""The index that `foal extract` writes over a folder with imported streams."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance

pytestmark = pytest.mark.slow

UTTERANCES = [
    Utterance(id=f"u{number}", corpus="words", session="s1", speaker="s1F", label="hap", transcript=f"Line {number}.")
    for number in range(4)
]


@pytest.mark.parametrize("imported", [4, 3])
def test_imported_streams_that_cover_the_utterances_stay_in_the_index(
    tmp_path: Path,
    scheduler: str,
    foal_here: Callable[..., "subprocess.CompletedProcess[str]"],
    caplog: pytest.LogCaptureFixture,
    imported: int,
) -> None:
    write_manifest(tmp_path / "m.csv", UTTERANCES)
    (tmp_path / "params.yaml").write_text(
        "corpus: {manifest: m.csv, root: nowhere}\nindex: features/feats.h5\n"
        f"cluster: {{scheduler: '{scheduler}'}}\nextract: {{streams: [text]}}\n"
    )
    (tmp_path / "npy").mkdir()
    for number in range(imported):
        np.save(tmp_path / "npy" / f"u{number}.npy", np.full(6, number + 1.0))
    assert foal_here("import", "--audio", "npy", "-o", "features").returncode == 0
    done = foal_here("extract", "--split", "all")
    assert done.returncode == 0, done.stderr
    lacking = "the imported stream audio is no longer in the index" in caplog.text
    assert lacking == (imported == 3)
    with FeatureStore(tmp_path / "features" / "feats.h5") as store:
        assert len(store) == 4
        # A stream without rows for some utterances would leave them out of the index.
        assert list(store.streams) == (["audio", "text"] if imported == 4 else ["text"])
