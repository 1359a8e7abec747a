"""Utterances: their splits, the sources of their features, and their crops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.errors import UsageError
from foal.shared.utterance import Utterance, parse_crop, select_splits, split_folder

name = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: text.strip(".") and text != "all"
)


def test_an_unknown_split_is_refused_with_the_known_splits(sample_utterances: list[Utterance]) -> None:
    with pytest.raises(UsageError, match="session1, session2, session3"):
        select_splits(sample_utterances, ["session9"])
    assert select_splits(sample_utterances, ["session2", "session2"]) == select_splits(sample_utterances, ["session2"])
    assert len(select_splits(sample_utterances, ["all"])) == len(sample_utterances)
    for splits in (["all", "nonsense"], [""], []):
        with pytest.raises(UsageError, match="the manifest has session1"):
            select_splits(sample_utterances, splits)


def test_the_source_of_features_depends_on_file_segment_and_crop_only() -> None:
    utterance = Utterance(
        id="a", corpus="c", audio="a.wav", video="v.avi", start=1.0, end=2.0, crop="left", label="hap"
    )
    changed = Utterance(id="a", corpus="c", audio="a.wav", video="v.avi", start=1.0, end=2.0, crop="right", label="sad")
    assert utterance.source("audio") == changed.source("audio")
    assert utterance.source("face") != changed.source("face")


@given(st.tuples(*[st.floats(0, 1)] * 4))
def test_crops_are_fractions_in_order(corners: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = corners
    text = f"{x0},{y0},{x1},{y1}"
    if x0 < x1 and y0 < y1:
        assert parse_crop(text) == corners
    else:
        with pytest.raises(ValueError, match=r"'full', 'left'"):
            parse_crop(text)


@given(st.lists(name, min_size=2, max_size=2, unique=True))
def test_different_splits_have_different_folders(names: list[str]) -> None:
    folders = [split_folder(name) for name in names]
    assert folders[0] != folders[1]
    assert all("/" not in folder and folder not in (".", "..") for folder in folders)
