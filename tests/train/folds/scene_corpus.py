"""A label table of repeated scenes: every session plays every scene, each dialog with two speakers."""

from collections.abc import Sequence
from dataclasses import replace

from foal.shared.utterance import Utterance

SCENES = ("impro01", "impro02", "impro10", "script01", "script02", "script03")
LABELS = "abc"


def scene_corpus(
    sessions: int = 4, scenes: Sequence[str] = SCENES, *, turns: int = 6, missing: Sequence[tuple[int, str]] = ()
) -> list[Utterance]:
    """Utterances of every session and scene but the missing ones; ids and dialogs as in IEMOCAP."""
    return [
        Utterance(
            id=f"Ses{session}_{scene}_{'FM'[turn % 2]}{turn:03}",
            corpus="made-up",
            session=f"session{session}",
            speaker=f"s{session}{'FM'[turn % 2]}",
            gender="FM"[turn % 2],
            label=LABELS[turn % len(LABELS)],
            audio=f"{session}-{scene}-{turn}.wav",
            video=f"{session}-{scene}.mp4",
            start=10.0 * turn,
            end=10.0 * turn + 9.0,
            dialog=f"Ses{session}_{scene}",
            turn=turn,
            scene=scene,
        )
        for session in range(1, sessions + 1)
        for scene in scenes
        if (session, scene) not in missing
        for turn in range(turns)
    ]


def context_turn(utterance: Utterance) -> Utterance:
    """A turn without a label at the end of the dialog of an utterance."""
    return replace(utterance, id="context", label="", start=59.0, end=60.0)
