"""A stream whose name is that of an encoder that saw the corpus: warnings at the import and in summaries."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.extract.inspect.tables import describe
from foal.shared.manifest import write_manifest
from foal.shared.store.feature_store import FeatureStore
from foal.shared.utterance import Utterance


def test_import_and_provenance_know_a_stream_by_its_name(
    tmp_path: Path,
    sample_utterances: list[Utterance],
    run_import: Callable[..., Path],
    messages: pytest.LogCaptureFixture,
) -> None:
    utterances = [replace(u, corpus="iemocap") for u in sample_utterances]
    write_manifest(tmp_path / "m.csv", utterances)
    (tmp_path / "arrays").mkdir()
    for utterance in utterances:
        np.save(tmp_path / "arrays" / f"{utterance.id}.npy", np.zeros((4, 3), np.float32))
    index = run_import(
        tmp_path / "out", tmp_path / "arrays", rates={"audio": 4.0}, name="emotion2vec-plus-seed", zeros="valid"
    )
    assert "encoder saw the corpus: the encoder of audio/emotion2vec-plus-seed" in messages.text
    with FeatureStore(index) as store:
        (made,) = store.provenance().values()
    assert [entry["encoder"] for entry in made["seen_corpora"]] == ["emotion2vec_plus_seed"]
    assert any(isinstance(part, str) and part.startswith("encoder saw the corpus") for part in describe(index))
