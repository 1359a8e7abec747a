"""The systems of the ablation study."""

import pytest

from foal.shared.config.train_settings import REFERENCE, TrainSettings
from foal.train.ablate.systems import DEVIATIONS, systems_for

SYSTEMS = systems_for(["audio", "face"], "loso-nested", deviations=False)
SYSTEMS_BY_ID = {system.id: system for system in (*SYSTEMS, *DEVIATIONS)}


def test_ids_and_names_are_unique_and_parts_exist() -> None:
    assert len(SYSTEMS_BY_ID) == len(SYSTEMS) + len(DEVIATIONS)
    assert len({system.name for system in SYSTEMS_BY_ID.values()}) == len(SYSTEMS_BY_ID)
    assert all(SYSTEMS_BY_ID[part].is_fitted for system in SYSTEMS_BY_ID.values() for part in system.parts)


def test_features_of_both_modalities_allow_every_system() -> None:
    assert systems_for(["audio", "face"], "loso-nested", deviations=True) == [*SYSTEMS, *DEVIATIONS]


@pytest.mark.parametrize("modality", ["audio", "face"])
def test_features_of_one_modality_allow_its_own_systems(modality: str) -> None:
    systems = systems_for([modality], "loso-nested", deviations=True)
    baselines = [f"{name}-{modality}" for name in ("regression", "regression-std", "linear-svm", "rbf-svm", "mlp")]
    assert [system.id for system in systems] == ["majority", *baselines, modality]


def test_other_protocols_have_no_system_selected_on_test() -> None:
    systems = systems_for(["audio", "face"], "folds-nested", deviations=True)
    assert {system.id for system in (*SYSTEMS, *DEVIATIONS)} - {system.id for system in systems} == {
        "deviation-on-test"
    }


def test_a_network_has_the_settings_of_the_study_except_its_changes() -> None:
    base = TrainSettings(width=64, epochs=7)
    settings = SYSTEMS_BY_ID["reference"].settings(base, "loso-nested")
    assert (settings.width, settings.epochs) == (64, 7)
    assert (settings.avel, settings.mem, settings.compat) == (True, True, REFERENCE)
    assert settings.protocol == "loso-nested"
    assert SYSTEMS_BY_ID["deviation-on-test"].settings(base, "loso-nested").protocol == "loso-reference"


def test_a_regression_depends_on_the_settings_of_its_features_only() -> None:
    system = SYSTEMS_BY_ID["regression-audio"]
    plain = system.settings(TrainSettings(), "loso-nested")
    assert system.settings(TrainSettings(width=64, epochs=7), "loso-nested") == plain
    assert system.settings(TrainSettings(frame_rate=5.0), "loso-nested") != plain


def test_late_fusions_have_no_fits_and_only_networks_and_perceptrons_depend_on_the_seed() -> None:
    assert {system.kind for system in SYSTEMS if not system.is_fitted} == {"majority", "late"}
    random = {system.id for system in SYSTEMS if system.is_random}
    networks = {system.id for system in SYSTEMS if system.kind == "network"}
    assert random == networks | {"late"} | {f"mlp-{part}" for part in ("audio", "face", "both", "late")}
