"""The states of rows of shards compared with the manifest."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from foal.extract.maintenance.row_states import ABSENT, CHANGED_ROW, CURRENT, row_states
from foal.shared.files.media_state import MediaFingerprints, MediaState
from foal.shared.store.catalog import read_catalog
from foal.shared.utterance import Utterance


def test_each_row_is_current_or_has_the_reason_why_not(
    tmp_path: Path, make_features: Callable[..., Path], sample_utterances: list[Utterance]
) -> None:
    catalog = read_catalog(make_features(tmp_path / "f", sample_utterances), "face", "0" * 64)
    (tmp_path / "3.mp4").write_text("of another size")
    manifest = [
        replace(sample_utterances[0], video="other.mp4", start=0.5),
        replace(sample_utterances[1], crop="left"),
        *sample_utterances[3:],
    ]
    states = row_states(catalog, manifest, "face", MediaFingerprints(tmp_path))
    by_id = dict(zip(catalog.rows.ids.tolist(), states.tolist(), strict=True))
    assert {name: by_id[name] for name in ("u0", "u1", "u2", "u3", "u4")} == {
        "u0": CHANGED_ROW + "file, start",
        "u1": CHANGED_ROW + "crop",
        "u2": ABSENT,
        "u3": MediaState.SIZE.value,
        "u4": CURRENT,
    }
    assert list(by_id.values()).count(CURRENT) == 14
    assert set(row_states(catalog, [], "face", MediaFingerprints(tmp_path)).tolist()) == {ABSENT}
