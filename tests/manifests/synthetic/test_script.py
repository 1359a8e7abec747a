"""The script of the synthetic corpus: balanced classes, ordered turns, deviations of voice and face."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from foal.manifests.synthetic.script import (
    _FACE_SPREAD,
    _VOICE_SPREAD,
    CLASSES,
    GENDERS,
    MOODS,
    SESSIONS,
    plan_dialogs,
)


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


def test_voice_and_face_deviate_from_the_mood_independently() -> None:
    turns = [turn for dialog in plan_dialogs(2000, 5) for turn in dialog.turns if class_of(turn.emotion) in CLASSES]
    moods = np.array([(turn.arousal, turn.valence) for turn in turns])
    voice = np.array([(turn.voice_arousal, turn.voice_valence) for turn in turns])
    face = np.array([(turn.face_arousal, turn.face_valence) for turn in turns])
    signs = np.array([MOODS[turn.emotion] for turn in turns]) > 0
    for shown in (moods, voice, face):
        assert np.abs(shown).max() <= 2
    deviations = np.concatenate([voice - moods, face - moods], axis=1)
    assert np.abs(np.corrcoef(deviations.T)[~np.eye(4, dtype=bool)]).max() < 0.1

    # The mood has nearly always the signs of its emotion; the voice shows arousal more reliably, the face valence.
    assert ((moods > 0) == signs).mean(axis=0).min() > 0.99
    voice_arousal, voice_valence = ((voice > 0) == signs).mean(axis=0)
    face_arousal, face_valence = ((face > 0) == signs).mean(axis=0)
    assert 0.85 < min(voice_arousal, face_valence) <= max(voice_arousal, face_valence) < 0.95
    assert 0.68 < min(voice_valence, face_arousal) <= max(voice_valence, face_arousal) < 0.80


def test_both_together_are_more_reliable_than_either() -> None:
    turns = [turn for dialog in plan_dialogs(2000, 6) for turn in dialog.turns if class_of(turn.emotion) in CLASSES]
    voice = np.array([(turn.voice_arousal, turn.voice_valence) for turn in turns])
    face = np.array([(turn.face_arousal, turn.face_valence) for turn in turns])
    signs = np.array([MOODS[turn.emotion] for turn in turns]) > 0
    # The best weights of independent deviations are their inverse variances.
    both = (voice / np.square(_VOICE_SPREAD) + face / np.square(_FACE_SPREAD)) / 2
    alone = [((shown > 0) == signs).all(axis=1).mean() for shown in (voice, face)]
    together = ((both > 0) == signs).all(axis=1).mean()
    assert min(alone) > 0.55
    assert together > max(alone) + 0.12


def test_another_seed_gives_another_plan() -> None:
    assert plan_dialogs(20, 1) == plan_dialogs(20, 1)
    assert plan_dialogs(20, 1) != plan_dialogs(20, 2)


def four_classes(utterances: int, seed: int) -> list[tuple[int, str, str, float, str, str]]:
    """Session, scene, role, relative time, class and text of each utterance of the four classes."""
    return [
        (dialog.session, dialog.name[7:14].rstrip("_a"), turn.speaker, turn.start / dialog.seconds,
         class_of(turn.emotion), turn.text)
        for dialog in plan_dialogs(utterances, seed)
        for turn in dialog.turns
        if class_of(turn.emotion) in CLASSES
    ]  # fmt: skip


def test_the_place_in_a_scene_tells_the_emotion_unless_the_scene_is_held_out() -> None:
    rows = [row for seed in range(2020, 2026) for row in [(seed, *row) for row in four_classes(160, seed)]]
    correct: dict[bool, list[bool]] = {True: [], False: []}
    for seed, session, scene, role, time, emotion, _ in rows:
        for held_out, results in correct.items():
            votes = dict.fromkeys(CLASSES, 0.0)
            for other in rows:
                if other[0] == seed and other[1] != session and not (held_out and other[2] == scene):
                    votes[other[5]] += 1e-6
                    if other[2:4] == (scene, role):
                        votes[other[5]] += np.exp(-(((time - other[4]) / 0.05) ** 2) / 2)
            results.append(max(votes, key=lambda name: votes[name]) == emotion)
    assert 0.42 < np.mean(correct[False]) < 0.65
    assert np.mean(correct[True]) < 0.27, "at most chance"


def test_words_alone_are_above_chance_and_far_from_perfect() -> None:
    shares = []
    for seed in range(2020, 2026):
        rows = four_classes(160, seed)
        labels = np.array([row[4] for row in rows])
        sessions = np.array([row[0] for row in rows])
        words = CountVectorizer(token_pattern=r"\w+").fit_transform([row[5] for row in rows]).toarray()
        for session in SESSIONS:
            model = LogisticRegression(max_iter=1000).fit(words[sessions != session], labels[sessions != session])
            shares.append(model.score(words[sessions == session], labels[sessions == session]))
    assert 0.42 < np.mean(shares) < 0.62


def test_every_session_plays_the_same_scenes_and_scripts_have_the_same_words() -> None:
    scenes: dict[str, list[list[str]]] = {}
    for dialog in plan_dialogs(160, 2024):
        lines = [turn.text for turn in dialog.turns if turn.speaker == "F" and "[" not in turn.text]
        scenes.setdefault(dialog.name[7:].rstrip("a"), []).append(lines)
    assert {name: len(sessions) for name, sessions in scenes.items()} == dict.fromkeys(
        ["impro01", "script01_1", "script02_1", "impro02"], 5
    )
    for name, sessions in scenes.items():
        shared = len(set(sessions[0]) & set(sessions[1])) / len(set(sessions[0]))
        assert (shared > 0.7) == name.startswith("script"), name
