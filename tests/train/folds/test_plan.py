import pytest

from foal.shared.errors import TrainingError
from foal.tests.train.folds.scene_corpus import scene_corpus
from foal.train.folds.plan import natural_key, require_whole_dialogs


def test_numbers_are_ordered_by_value() -> None:
    assert sorted(["impro10", "impro2", "10", "9"], key=natural_key) == ["9", "10", "impro2", "impro10"]


def test_a_dialog_in_two_folds_is_refused() -> None:
    utterances = scene_corpus(1)
    require_whole_dialogs(utterances, [u.dialog for u in utterances], "speakers-nested")
    message = r"dialog 'Ses1_impro01' is in the folds 's1F' and 's1M' of the protocol speakers-nested"
    with pytest.raises(TrainingError, match=message):
        require_whole_dialogs(utterances, [u.speaker for u in utterances], "speakers-nested")
