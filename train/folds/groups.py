"""Which group of a finished run an utterance belongs to, and which networks of the run may score it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ...shared.folds import fold_role
from ...shared.utterance import Utterance
from .scenes import KIND, block_name


def group_of(
    utterance: Utterance,
    kind: str,
    speaker: str,
    names: Collection[str],
    scene_groups: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The group of an utterance that may be new to the cross-validation; "" if it names none.

    Args:
        utterance: any utterance.
        kind: kind of group: session, speaker, fold, or block.
        speaker: its speaker, unique across corpora.
        names: groups of the cross-validation.
        scene_groups: scenes by the name of their group, if the groups are blocks.
    """
    if kind == "speaker":
        return speaker
    if kind == KIND:
        scene = scene_group(utterance.scene, scene_groups or {})
        return block_name(utterance.session, scene) if utterance.session and scene else ""
    group = utterance.fold if kind == "fold" else utterance.session
    return (fold_role(group) or group) if kind == "fold" and group not in names else group


def scene_group(scene: str, scene_groups: Mapping[str, Sequence[str]]) -> str:
    """The name of the group that has a scene; of an unknown scene, the scene itself."""
    return next((name for name, scenes in scene_groups.items() if scene in scenes), scene)


class Blocks:
    """The blocks of session and scenes of a run: what a network has seen of an utterance's session and scene."""

    def __init__(self, groups: Mapping[str, Any]) -> None:
        """Read `groups` of run.json."""
        self._sessions = frozenset(groups["sessions"])
        self._parsed: dict[str, tuple[str, frozenset[str]]] = {}
        self._scenes = frozenset(scene for scenes in groups["scene_groups"].values() for scene in scenes)

    def is_unseen(self, utterance: Utterance, test: str) -> bool:
        """Whether the network that tested the block `test` has seen neither the session nor the scene.

        An utterance without a session or without a scene may have been seen.
        """
        session, scenes = self._parts(test)
        return (
            bool(utterance.session and utterance.scene)
            and (utterance.session == session or utterance.session not in self._sessions)
            and (utterance.scene in scenes or utterance.scene not in self._scenes)
        )

    def is_training(self, utterance: Utterance, *excluded: str) -> bool:
        """Whether an utterance of the run shares neither session nor scene with the `excluded` blocks."""
        if utterance.session not in self._sessions or utterance.scene not in self._scenes:
            return False
        parts = map(self._parts, excluded)
        return all(utterance.session != session and utterance.scene not in scenes for session, scenes in parts)

    def _parts(self, block: str) -> tuple[str, frozenset[str]]:
        """Session and scenes of a block's name."""
        if block not in self._parsed:
            session = max((name for name in self._sessions if block.startswith(block_name(name, ""))), key=len)
            self._parsed[block] = session, frozenset(block.removeprefix(block_name(session, "")).split("+"))
        return self._parsed[block]
