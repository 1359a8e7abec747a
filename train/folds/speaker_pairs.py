"""The test and development speakers of the protocol speakers-nested."""

from collections.abc import Mapping, Sequence

from ...shared.errors import TrainingError
from ...shared.utterance import Utterance


def speaker_pairs(
    utterances: Sequence[Utterance], groups: Sequence[str], names: Sequence[str]
) -> list[tuple[str, str]]:
    """Pair each test speaker with the next speaker of the same session (of the corpus, if it has no sessions).

    Raises TrainingError for a session of a single speaker.
    """
    sessions: dict[str, str] = {}
    for utterance, speaker in zip(utterances, groups, strict=True):
        sessions.setdefault(speaker, f"{utterance.corpus}/{utterance.session}")
    speakers: Mapping[str, list[str]] = {session: [] for session in sessions.values()}
    for name in names:
        speakers[sessions[name]].append(name)
    plan = []
    for name in names:
        in_session = speakers[sessions[name]]
        if len(in_session) < 2:
            session = sessions[name].partition("/")[2] or "without a name"
            raise TrainingError(
                f"session {session}: expected a second speaker, on whom the epoch is chosen when {name} is tested, got "
                "only one; choose another protocol than speakers-nested"
            )
        plan.append((name, in_session[(in_session.index(name) + 1) % len(in_session)]))
    return plan
