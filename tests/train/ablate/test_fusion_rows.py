"""The rows of a comparison of fusion systems."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from foal.shared.config.fusion_settings import DIALOG_HEADS, FUSIONS
from foal.shared.config.train_settings import TrainSettings
from foal.shared.errors import UsageError
from foal.tests.train.dialogs.dialog_corpus import dialog_dataset
from foal.train.ablate.fusion_rows import REFERENCE, VARIANTS, FusionRows, fusion_rows, parse_fusions
from foal.train.ablate.systems import BASELINES
from foal.train.data.dataset import Dataset
from foal.train.data.protocol import build_cross_validation

MakeDataset = Callable[..., Dataset]
SETTINGS = TrainSettings()
BASELINE_IDS = [f"{name}-{part}" for name, *_ in BASELINES for part in ("audio", "face", "both", "late")]


def rows_of(data: Dataset, names: tuple[str, ...] | None, settings: TrainSettings = SETTINGS) -> FusionRows:
    folds = build_cross_validation(data.utterances, "loso-nested", data.speakers)
    return fusion_rows(data, folds, settings, names)


def test_names_are_listed_once_and_all_stands_alone() -> None:
    assert parse_fusions("all") is None
    assert parse_fusions(" concat, cross-attention,concat,") == ("concat", "cross-attention")
    with pytest.raises(
        UsageError, match=r"there is no fusion 'conact'; did you mean 'concat'\? Expected all alone, or"
    ):
        parse_fusions("cross-attention,conact")
    with pytest.raises(UsageError, match=r"there is no fusion 'all'; expected all alone, or some of"):
        parse_fusions("concat,all")
    with pytest.raises(UsageError, match=r"--fusions: expected all or names"):
        parse_fusions(" , ")


def test_all_systems_have_a_row_or_a_reason(make_dataset: MakeDataset) -> None:
    rows = rows_of(make_dataset(), None)
    assert {*rows.fusions.values()} | {*rows.left_out} == {*FUSIONS}
    assert not {*rows.fusions.values()} & {*rows.left_out}
    for name, reason in rows.left_out.items():
        assert reason.startswith(name)
    assert {name for name in FUSIONS if name in DIALOG_HEADS or FUSIONS[name].needs.text} == {*rows.left_out}
    assert "needs the column dialog" in rows.left_out["dialog-gru"]


def test_the_fits_of_the_reference_and_of_plain_systems_come_first(make_dataset: MakeDataset) -> None:
    rows = rows_of(make_dataset(), None)
    ids = [system.id for system in rows.systems]
    assert len({*ids}) == len(ids)
    assert ids[: 2 + len(BASELINE_IDS)] == [REFERENCE, *BASELINE_IDS, "cross-attention"]
    allowed = {*rows.fusions.values()}
    assert {*ids[: 1 + len(BASELINE_IDS) + len(allowed) - 1]} == allowed | {*BASELINE_IDS}
    losses = {
        name: {
            (system.changes["avel"], system.changes["mem"])
            for system in rows.systems
            if rows.fusions.get(system.id) == name
        }
        for name in allowed
    }
    assert losses == {name: {*VARIANTS.values()} for name in allowed}
    assert {system.changes["fusion"] for system in rows.systems if system.id in rows.fusions} == allowed


def test_heads_over_dialogs_have_no_losses_and_come_after_heads_over_utterances() -> None:
    rows = rows_of(dialog_dataset(), ("dialog-gru", "cross-attention"))
    plain = [system.id for system in rows.systems if system.id in FUSIONS]
    assert plain == ["concat", "cross-attention", "dialog-gru"]
    assert [key for key, name in rows.fusions.items() if name == "dialog-gru"] == ["dialog-gru"]
    assert rows.left_out == {}


def test_one_stream_has_plain_rows_only(make_dataset: MakeDataset) -> None:
    data = make_dataset()
    rows = rows_of(data.select(["audio"]), None)
    assert {*rows.fusions} == {*rows.fusions.values()}
    several = {name for name in FUSIONS if FUSIONS[name].needs.streams > 1}
    assert several <= {*rows.left_out}
    for name in several - {*DIALOG_HEADS}:
        with pytest.raises(UsageError, match=rf"--fusions: {name} needs at least"):
            rows_of(data.select(["audio"]), (name,))


def test_a_named_system_that_the_features_do_not_allow_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(UsageError, match=r"--fusions: dialog-gru: a dialog head needs the column dialog"):
        rows_of(make_dataset(), ("concat", "dialog-gru"))
    data = dialog_dataset()
    sessions = [str(row % 3) for row in range(len(data))]
    mixed = [replace(turn, session=session) for turn, session in zip(data.utterances, sessions, strict=True)]
    with pytest.raises(UsageError, match=r"--fusions: dialog-gru: .*dialog"):
        rows_of(replace(data, utterances=tuple(mixed)), ("dialog-gru",))


def test_options_apply_to_the_only_system_that_is_named(make_dataset: MakeDataset) -> None:
    settings = TrainSettings(fusion="concat", fusion_options={"hidden": 8})
    data = make_dataset()

    def options(names: tuple[str, ...] | None) -> list[dict[str, int]]:
        systems = rows_of(data, names, settings).systems
        return [system.changes["fusion_options"] for system in systems if system.changes.get("fusion") == "concat"]

    assert options(("concat",)) == [{"hidden": 8}] * 4
    assert options(("concat", "cross-attention")) == [{}] * 4
    assert options(None) == [{}] * 4
    with pytest.raises(UsageError, match=r"expected options of cross-attention, .* got those of concat"):
        options(("cross-attention",))
