"""The script of the synthetic corpus: balanced classes, ordered turns, independent arousal and valence."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from foal.manifests.synthetic.script import CLASSES, GENDERS, ScriptTurn, plan_dialogs


def class_of(emotion: str) -> str:
    return "hap" if emotion == "exc" else emotion


@settings(deadline=None, max_examples=30)
@given(utterances=st.integers(20, 400), seed=st.integers(0, 2**32))
def test_a_plan_is_balanced_and_in_order(utterances: int, seed: int) -> None:
    dialogs = plan_dialogs(utterances, seed)
    turns = [turn for dialog in dialogs for turn in dialog.turns]
    assert len({dialog.name for dialog in dialogs}) == len(dialogs)
    assert len({turn.id for turn in turns}) == len(turns)
    assert {dialog.b_frames for dialog in dialogs} == {True, False}
    for dialog in dialogs:
        assert {turn.speaker for turn in dialog.turns} == {"F", "M"}
        assert dialog.turns[-1].end < dialog.seconds
        for turn, following in zip(dialog.turns, dialog.turns[1:], strict=False):
            assert 0.19 < following.start - turn.end < 0.61
        assert all(0.99 < turn.end - turn.start < 3.01 for turn in dialog.turns)
    selected = [turn for turn in turns if class_of(turn.emotion) in CLASSES]
    assert len(selected) == utterances
    cells = Counter((turn.id[4], turn.speaker, class_of(turn.emotion)) for turn in selected)
    for session in "12345":
        counts = [cells[session, gender, emotion] for gender in GENDERS for emotion in CLASSES]
        assert max(counts) - min(counts) <= 1
    classes = Counter(class_of(turn.emotion) for turn in selected)
    assert max(classes.values()) - min(classes.values()) <= 2


def test_arousal_and_valence_are_independent_of_each_other() -> None:
    turns = [turn for dialog in plan_dialogs(1000, 5) for turn in dialog.turns if class_of(turn.emotion) in CLASSES]

    def has_sign(value: float, positive: bool) -> bool:
        return (value > 0) == positive

    def share(results: list[bool]) -> float:
        return sum(results) / len(results)

    def aroused(turn: ScriptTurn) -> bool:
        return class_of(turn.emotion) in ("hap", "ang")

    def pleased(turn: ScriptTurn) -> bool:
        return class_of(turn.emotion) in ("hap", "neu")

    assert 0.94 < share([has_sign(turn.arousal, aroused(turn)) for turn in turns]) < 0.98
    assert 0.94 < share([has_sign(turn.valence, pleased(turn)) for turn in turns]) < 0.98
    assert 0.45 < share([has_sign(turn.arousal, pleased(turn)) for turn in turns]) < 0.55
    assert 0.45 < share([has_sign(turn.valence, aroused(turn)) for turn in turns]) < 0.55


def test_another_seed_gives_another_plan() -> None:
    assert plan_dialogs(20, 1) == plan_dialogs(20, 1)
    assert plan_dialogs(20, 1) != plan_dialogs(20, 2)
