"""The poses of a synthetic face and their blend."""

from dataclasses import astuple

import numpy as np
import pytest

from foal.manifests.synthetic.pose import ANGRY, HAPPY, NEUTRAL, SAD, Pose, blend


@pytest.mark.parametrize(
    ("valence", "arousal", "pose"), [(1, -1, NEUTRAL), (1, 1, HAPPY), (-1, -1, SAD), (-1, 1, ANGRY)]
)
def test_a_corner_of_the_moods_is_one_emotion(valence: float, arousal: float, pose: Pose) -> None:
    assert blend(valence, arousal) == pose


def test_a_mood_between_two_emotions_is_half_of_each() -> None:
    between = np.add(astuple(HAPPY), astuple(ANGRY)) / 2
    np.testing.assert_allclose(astuple(blend(0, 1)), between, atol=1e-12)


def test_a_neutral_face_is_at_rest() -> None:
    assert not any(astuple(NEUTRAL))
