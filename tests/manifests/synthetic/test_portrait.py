"""The portraits of the synthetic corpus."""

import numpy as np

from foal.manifests.synthetic.cast import CAST
from foal.manifests.synthetic.portrait import HEIGHT, MOODS, MOUTHS, WIDTH, Expression, Portrait


def paint(portrait: Portrait, expression: Expression, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    portrait.paint(canvas, expression, shift)
    return canvas.astype(np.int16)


def test_expressions_change_only_the_face() -> None:
    portrait = Portrait(CAST[0].face)
    rest = paint(portrait, Expression())
    for expression in (
        Expression(valence=-MOODS),
        Expression(arousal=MOODS),
        Expression(valence=-MOODS, arousal=MOODS),
        Expression(mouth=MOUTHS),
        Expression(shut=True),
    ):
        changed = np.abs(paint(portrait, expression) - rest).max(axis=2)
        assert changed.max() > 40
        rows, columns = np.nonzero(changed)
        assert rows.min() > 60
        assert rows.max() < 200
        assert columns.min() > 110
        assert columns.max() < 250


def test_a_portrait_is_repeatable_and_moves_with_the_head() -> None:
    portrait = Portrait(CAST[1].face)
    first = paint(portrait, Expression(valence=-3))
    moved = paint(portrait, Expression(valence=-3), (2, 1))
    assert np.array_equal(paint(portrait, Expression(valence=-3)), first)
    assert (
        np.abs(moved[80:160, 130:230] - first[79:159, 128:228]).mean() < np.abs(moved - first)[80:160, 130:230].mean()
    )


def test_all_actors_have_different_faces() -> None:
    faces = [paint(Portrait(member.face), Expression()) for member in CAST]
    for number, face in enumerate(faces):
        for other in faces[number + 1 :]:
            assert np.abs(face - other).mean() > 5
