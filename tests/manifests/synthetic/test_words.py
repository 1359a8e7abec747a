"""The words of the synthetic corpus: part of the emotion, and tags."""

from collections import Counter

import numpy as np
import pytest

from foal.manifests.synthetic.words import NEUTRAL, TAG_SHARE, TELLING, TELLING_SHARE, draw_sentence, with_tags

EVERY = [sentence for sentences in (NEUTRAL, *TELLING.values()) for sentence in sentences]


def test_sentences_are_ascii_and_belong_to_one_class() -> None:
    assert len(set(EVERY)) == len(EVERY)
    assert all(sentence.isascii() and "[" not in sentence for sentence in EVERY)


@pytest.mark.parametrize("emotion", ["hap", "exc", "sad", "fru"])
def test_a_part_of_the_sentences_tells_the_emotion(emotion: str) -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(draw_sentence(emotion, rng) for _ in range(2000))
    telling = TELLING.get("hap" if emotion == "exc" else emotion, ())
    assert set(drawn) == {*telling, *NEUTRAL}
    share = sum(drawn[sentence] for sentence in telling) / 2000
    assert share == pytest.approx(TELLING_SHARE if telling else 0, abs=0.04)


def test_few_turns_have_a_tag_or_nothing_else() -> None:
    rng = np.random.default_rng(0)
    drawn = [with_tags("So.", rng) for _ in range(5000)]
    assert sum(text != "So." for text in drawn) / 5000 == pytest.approx(TAG_SHARE, abs=0.01)
    assert sum("So" not in text for text in drawn) / 5000 == pytest.approx(TAG_SHARE / 3, abs=0.01)
