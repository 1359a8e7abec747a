import shlex
from pathlib import Path

from foal.predict.report.provenance import commands, provenance_section
from foal.predict.report.sources import FUSIONS, TUNING, Source, read_source
from foal.shared.cli.options import settings_from
from foal.tests.predict.report.conftest import QUICK


def assignments(command: str) -> list[str]:
    words = shlex.split(command)
    return [words[at + 1] for at, word in enumerate(words) if word == "--set"]


def test_the_command_of_a_run_gives_its_settings(source: Source) -> None:
    train, evaluate, report = commands(source, index="my feats.h5")
    assert train.startswith("foal train --features 'my feats.h5' --out ")
    assert settings_from(None, assignments(train), {}).train == QUICK
    assert shlex.split(evaluate)[-2:] == ["--model", str(source.folder)]
    assert shlex.split(report) == ["foal", "report", str(source.folder)]


def test_an_evaluation_names_its_run(run: Path) -> None:
    train, evaluate, _ = commands(read_source(run / "evaluation"), index="feats.h5")
    assert str(run) in shlex.split(train)
    assert shlex.split(evaluate)[-1] == str(run)


def test_studies_name_their_systems_and_trials() -> None:
    rows = [{"fusion": None}, {"fusion": "concat"}, {"fusion": "mult"}, {"fusion": "concat"}]
    content = {"rows": rows, "trials": [{}, {}], "settings": {}}
    fusions, _ = commands(Source(kind=FUSIONS, folder=Path("f"), content=content), index="feats.h5")
    assert "--fusions concat,mult" in fusions
    tune, _ = commands(Source(kind=TUNING, folder=Path("t"), content=content), index="feats.h5")
    assert tune.endswith("--trials 2")


def test_facts_name_features_folds_encoders_and_versions(source: Source) -> None:
    section = provenance_section(source, index="feats.h5")
    assert section.facts["Features"] == source.content["features"]
    assert section.facts["Folds"] == source.content["folds_digest"]
    assert "torch" in section.facts["Computed with"]
    assert [row[0].text for row in section.tables[0].rows] == ["audio", "face"]
    assert '"epochs": 2' in section.listing
