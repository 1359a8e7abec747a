"""What is missing and how long clips are; predictions themselves are tested with test_run.py."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foal.predict.extraction.cache import extracted_features
from foal.predict.scoring import Scoring
from foal.predict.sources import find_clips, part_of
from foal.predict.trained import load_trained, open_unlabelled
from foal.shared.config.settings import Settings
from foal.shared.store.feature_store import FeatureStore
from foal.tests.predict.small_model import model_streams, write_clip


def test_rows_know_their_times_and_what_is_missing(run: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "a.avi", seconds=2.0)
    write_clip(tmp_path / "clips" / "b.avi", sound=False)
    clips = find_clips([str(tmp_path / "clips")], root=tmp_path)
    whole, mute = clips.utterances
    part = part_of(whole, "part", start=0.5, end=1.25)
    clips = replace(clips, utterances=(whole, mute, part), names={**clips.names, part.id: "part"})
    model = load_trained(run)
    with ExitStack() as stack:
        extracted = stack.enter_context(
            extracted_features(clips.utterances, model_streams(), Settings(), folder=tmp_path / "cache")
        )
        assert extracted.index is not None
        data = stack.enter_context(open_unlabelled(model, extracted.index))
        store = stack.enter_context(FeatureStore(extracted.index))
        scoring = Scoring(
            model=model, data=data, store=store, clips=clips, notes={part.id: "a note"}, statistics="fold"
        )
        assert scoring.missing == [{}, {"audio": "no audio track"}, {}]
        assert scoring.span(0)[1] == pytest.approx(2.0, abs=0.1)
        assert scoring.span(2) == (0.5, 1.25)
        assert scoring.face_trace(0) is None  # whole pictures
        reasons: dict[str, str] = {}
        rows = scoring.predict({whole.id, part.id}, reasons, window=1.0, hop=0.5)
    assert [(row.name, row.part) for row in rows] == [
        ("a.avi", "clip"),
        *[("a.avi", "window")] * 3,
        ("part", "clip"),
        ("part", "window"),
    ]
    assert rows[4].note == "a note"
    assert (rows[5].start, rows[5].end) == (0.5, 1.25)
    assert np.allclose(rows[4].probabilities, rows[5].probabilities, atol=1e-6)
    assert reasons == {}
