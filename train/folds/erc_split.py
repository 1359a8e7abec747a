"""The protocol erc-split: the last session is tested, and some dialogs of the others choose the epoch.

This is the split of the literature on emotion recognition in conversation (IEMOCAP: session 5). It shares scripts and
scenarios between training and test, and its development dialogs share speakers with the training dialogs.
"""

import random
from collections.abc import Sequence

from ...shared.errors import TrainingError
from ...shared.text import counted
from ...shared.utterance import Utterance
from .plan import FoldPlan, Plan, natural_key, require_whole_dialogs, required_column

PROTOCOL = "erc-split"
DEV_SHARE = 0.1
DEV_SEED = 0
"""Seed of the choice of development dialogs; the fold does not depend on the seeds of training."""


def plan_erc_split(utterances: Sequence[Utterance]) -> Plan:
    """Test the last session, and choose the epoch on 10% of the dialogs of the others.

    Args:
        utterances: the utterances, n.

    Raises:
        TrainingError: an utterance without session or dialog, a dialog in several sessions, a single session, or fewer
            than two dialogs to train on.
    """
    sessions = required_column(utterances, "session", lambda u: u.session, protocol=PROTOCOL)
    required_column(utterances, "dialog", lambda u: u.dialog, protocol=PROTOCOL)
    require_whole_dialogs(utterances, sessions, PROTOCOL)
    names = sorted(set(sessions), key=natural_key)
    if len(names) < 2:
        raise TrainingError(
            f"expected at least two sessions (the last one to test), got only {names[0]}; choose another protocol than "
            f"{PROTOCOL}"
        )
    test = names[-1]
    dialogs = [(utterance.corpus, utterance.dialog) for utterance in utterances]
    of_training = sorted({dialog for dialog, session in zip(dialogs, sessions, strict=True) if session != test})
    if len(of_training) < 2:
        raise TrainingError(
            f"{PROTOCOL}: expected at least two dialogs in the sessions {', '.join(names[:-1])} (one to choose the "
            f"epoch, the rest to train), got {len(of_training)}; choose another protocol"
        )
    number = max(1, round(DEV_SHARE * len(of_training)))
    chosen = set(random.Random(DEV_SEED).sample(of_training, number))
    rows: dict[str, list[int]] = {"test": [], "dev": [], "train": []}
    for row, (dialog, session) in enumerate(zip(dialogs, sessions, strict=True)):
        rows["test" if session == test else "dev" if dialog in chosen else "train"].append(row)
    fold = FoldPlan(
        test=test,
        dev=counted(number, "dialog"),
        test_rows=rows["test"],
        dev_rows=rows["dev"],
        train_rows=rows["train"],
    )
    note = (
        f"{PROTOCOL}: {test} is tested; {number} of {len(of_training)} dialogs of the other sessions choose the epoch "
        f"(seed {DEV_SEED}), and their speakers are in the training set, too"
    )
    return Plan(kind="session", groups=sessions, folds=(fold,), notes=(note,))
