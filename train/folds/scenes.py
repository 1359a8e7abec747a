"""The protocol loso-scenes-nested: a test block is a session and a scene; training sees neither of them.

In IEMOCAP every pair of actors plays the same scripts and scenarios, and scene, role and time alone predict most labels
of a session that is held out (train/floor). Here the scene of a test block is held out as well.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ...shared.errors import TrainingError
from ...shared.utterance import Utterance
from .plan import FoldPlan, Plan, natural_key, require_whole_dialogs, required_column

PROTOCOL = "loso-scenes-nested"
KIND = "block"
MIN_GROUPS = 3
"""Sessions, and groups of scenes: one to test, one to choose the epoch, the rest to train."""
DEV_SHARE = 3
"""Every third of the groups of scenes that remain beside a test block belongs to the development group."""


def plan_scene_blocks(utterances: Sequence[Utterance], scene_groups: int | None) -> Plan:
    """Divide utterances into test blocks of a session and a group of scenes.

    For the block of session s and scenes c, rows of s and of c are used by nothing but the test. The development group
    is a block as well: every third group of the other scenes, in the next session. What is trained while it chooses has
    neither its session nor its scenes; what is trained after the choice (`refit`) has all rows that have neither the
    session nor the scenes of the test block.

    Args:
        utterances: the utterances, n.
        scene_groups: number of groups that scenes are divided into (None: each scene is a group of its own).

    Raises:
        TrainingError: an utterance without session or scene, too few sessions, scenes or groups, a dialog in several
            blocks, or a block that leaves nothing to train on or to choose the epoch.
    """
    sessions = required_column(utterances, "session", lambda u: u.session, protocol=PROTOCOL)
    scenes = required_column(utterances, "scene", lambda u: u.scene, protocol=PROTOCOL)
    session_names = sorted(set(sessions), key=natural_key)
    if len(session_names) < MIN_GROUPS:
        raise TrainingError(
            f"expected at least three sessions (one to test, one to choose the epoch, the rest to train), got "
            f"{len(session_names)}: {', '.join(session_names)}; choose another protocol than {PROTOCOL}"
        )
    members = group_scenes(scenes, scene_groups)
    group_of_scene = {scene: name for name, group in members.items() for scene in group}
    scene_group = [group_of_scene[scene] for scene in scenes]
    groups = tuple(block_name(session, group) for session, group in zip(sessions, scene_group, strict=True))
    require_whole_dialogs(utterances, groups, PROTOCOL)
    rows: dict[tuple[str, str], list[int]] = {}
    for row, cell in enumerate(zip(sessions, scene_group, strict=True)):
        rows.setdefault(cell, []).append(row)
    folds = tuple(
        _fold(rows, session_names, list(members), session, group)
        for session in session_names
        for group in members
        if (session, group) in rows
    )
    return Plan(kind=KIND, groups=groups, folds=folds, scene_groups=members, notes=(_note(folds, members),))


def group_scenes(scenes: Sequence[str], number: int | None) -> dict[str, tuple[str, ...]]:
    """Divide scenes into groups of about equally many utterances.

    The scenes are taken from the most frequent one on, and each goes into the group that has the fewest utterances.

    Args:
        scenes: scene of each utterance, n.
        number: number of groups (None: one per scene).

    Returns:
        The scenes of each group by its name, both in natural order.

    Raises:
        TrainingError: fewer than three scenes or groups, or more groups than scenes.
    """
    counts = Counter(scenes)
    names = sorted(counts, key=natural_key)
    wanted = len(names) if number is None else number
    if not MIN_GROUPS <= wanted <= len(names):
        asked = "" if number is None else f" for {number} groups (--scene-groups)"
        raise TrainingError(
            f"{PROTOCOL}: expected at least three scenes, and as many as groups{asked}, got {len(names)}: "
            f"{', '.join(names[:10])}; choose another number of groups, or another protocol"
        )
    groups: list[list[str]] = [[] for _ in range(wanted)]
    sizes = [0] * wanted
    for scene in sorted(names, key=lambda name: -counts[name]):
        smallest = sizes.index(min(sizes))
        groups[smallest].append(scene)
        sizes[smallest] += counts[scene]
    sorted_groups = sorted(
        (sorted(group, key=natural_key) for group in groups), key=lambda group: natural_key(group[0])
    )
    return {"+".join(group): tuple(group) for group in sorted_groups}


def block_name(session: str, scene_group: str) -> str:
    """The name of a block, such as `session1 impro01`."""
    return f"{session} {scene_group}"


def _fold(
    rows: Mapping[tuple[str, str], Sequence[int]],
    sessions: Sequence[str],
    groups: Sequence[str],
    session: str,
    group: str,
) -> FoldPlan:
    """The fold of one test block; `rows` by session and group of scenes."""
    test = block_name(session, group)

    def in_blocks(wanted_sessions: Sequence[str], wanted_groups: Sequence[str]) -> list[int]:
        return sorted(row for s in wanted_sessions for g in wanted_groups for row in rows.get((s, g), ()))

    other_sessions, other_groups = _after(sessions, session), _after(groups, group)
    allowed = in_blocks(other_sessions, other_groups)
    for dev_session in other_sessions:
        for dev_groups in _choices(other_groups):
            train_groups = [name for name in other_groups if name not in dev_groups]
            dev_rows = in_blocks([dev_session], dev_groups)
            train_rows = in_blocks([name for name in other_sessions if name != dev_session], train_groups)
            if dev_rows and train_rows:
                used = {*dev_rows, *train_rows}
                return FoldPlan(
                    test=test,
                    dev=block_name(dev_session, "+".join(dev_groups)),
                    test_rows=rows[session, group],
                    dev_rows=dev_rows,
                    train_rows=train_rows,
                    refit_only_rows=[row for row in allowed if row not in used],
                )
    raise TrainingError(
        f"test block {test}: expected utterances of other sessions and other scenes to train on and to choose the "
        f"epoch, got {len(allowed)}; sessions must share scenes, or choose another protocol than {PROTOCOL}"
    )


def _after(names: Sequence[str], name: str) -> list[str]:
    """The other names, from the one after `name` on."""
    position = names.index(name)
    return [*names[position + 1 :], *names[:position]]


def _choices(groups: Sequence[str]) -> Iterator[list[str]]:
    """Every third group, beginning with the first, the second, ...; for a session that has none of the first choice."""
    step = min(DEV_SHARE, len(groups))
    for first in range(step):
        yield list(groups[first::step])


def _note(folds: Sequence[FoldPlan], members: Mapping[str, Sequence[str]]) -> str:
    allowed = [len(fold.train_rows) + len(fold.dev_rows) + len(fold.refit_only_rows) for fold in folds]
    scenes = sum(map(len, members.values()))
    groups = f"{scenes} scenes" + (f" in {len(members)} groups" if len(members) < scenes else "")
    return (
        f"{PROTOCOL}: {len(folds)} test blocks of a session and {groups}; trained on {min(allowed)} to {max(allowed)} "
        "utterances of other sessions and other scenes"
    )
