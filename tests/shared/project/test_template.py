"""The files of a project agree with those of the repository, apart from what a preset or a corpus changes."""

from pathlib import Path
from typing import Any, get_args

import pytest

from foal.shared.config.loading import parse_yaml
from foal.shared.config.settings import CorpusSettings, Settings, load_settings
from foal.shared.project.run import DVC_CONFIG, DVC_IGNORED
from foal.shared.project.template import (
    IGNORED,
    ROOTS,
    Preset,
    Value,
    project_ignored,
    project_params,
    project_pipeline,
    with_scheduler,
    with_values,
)

ROOT = Path(__file__).parents[3]
PARAMS, PIPELINE = (ROOT / "params.yaml").read_text(), (ROOT / "dvc.yaml").read_text()
PRESETS: tuple[Preset, ...] = get_args(Preset)


def leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    return {k: v for key, inner in values.items() for k, v in leaves(inner, f"{prefix}.{key}".strip(".")).items()}


def settings_of(text: str, folder: Path) -> Settings:
    (folder / "params.yaml").write_text(text)
    return load_settings(folder / "params.yaml")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kind", ROOTS)
def test_the_settings_are_valid_and_have_the_keys_of_the_repository(tmp_path: Path, preset: Preset, kind: str) -> None:
    text = project_params(PARAMS, preset, kind)
    settings = settings_of(text, tmp_path)
    assert settings.corpus.kind == kind
    assert set(settings.train.streams) <= set(settings.extract.streams)
    assert list(leaves(parse_yaml(text))) == list(leaves(parse_yaml(PARAMS)))


def test_a_laptop_with_the_synthetic_corpus_has_the_settings_of_the_repository(tmp_path: Path) -> None:
    text = project_params(PARAMS, "laptop", "synthetic")
    changed = {key for key, value in leaves(parse_yaml(text)).items() if leaves(parse_yaml(PARAMS))[key] != value}
    assert changed == {"cluster.device"}
    comments = [line.partition("#")[2] for line in PARAMS.splitlines() if line.startswith(" ")]
    assert set(comments) - {line.partition("#")[2] for line in text.splitlines()} == set()


def test_real_corpora_have_real_encoders_and_the_streams_that_they_can_have() -> None:
    speech = parse_yaml(project_params(PARAMS, "gpu", "emodb"))
    assert (speech["extract"]["streams"], speech["train"]["streams"]) == (["audio"], ["audio"])
    dialogs = parse_yaml(project_params(PARAMS, "gpu", "iemocap"))["extract"]
    assert dialogs["streams"] == ["audio", "face", "text"]
    assert [dialogs[modality]["encoder"] for modality in dialogs["streams"]] == [
        "facebook/wav2vec2-base",
        "vggface2",
        "FacebookAI/roberta-base",
    ]
    assert dialogs["precision"] == "bf16"


def test_every_kind_of_corpus_has_a_template() -> None:
    assert set(ROOTS) == set(get_args(CorpusSettings.model_fields["kind"].annotation))


def test_the_pipeline_is_that_of_the_repository_but_for_the_code() -> None:
    project, repository = (parse_yaml(text)["stages"] for text in (project_pipeline(PIPELINE), PIPELINE))
    assert list(project) == list(repository)
    assert {name: stage for name, stage in project.items() if name != "code"} == {
        name: stage for name, stage in repository.items() if name != "code"
    }
    assert "deps" not in project["code"]
    assert project["code"]["always_changed"] is True
    assert {key: project["code"][key] for key in ("cmd", "outs")} == {
        key: repository["code"][key] for key in ("cmd", "outs")
    }


def test_git_and_dvc_treat_a_project_as_they_treat_the_repository() -> None:
    assert set(IGNORED) <= set((ROOT / ".gitignore").read_text().splitlines())
    assert DVC_CONFIG.format(scm="") == (ROOT / ".dvc" / "config").read_text()
    assert (ROOT / ".dvc" / ".gitignore").read_text() == DVC_IGNORED
    assert project_ignored(["*.pyc", "/runs/"]) == [line for line in IGNORED if line != "/runs/"]


def test_values_are_replaced_and_comments_kept() -> None:
    text = "a:\n  b: 1 # one\n  c:\n    b: [x, y] # list\nb: 2\n"
    assert with_values(text, {"a.c.b": Value("[z]"), "b": Value("3", "three"), "a.b": Value("0", "")}) == (
        "a:\n  b: 0\n  c:\n    b: [z] # list\nb: 3 # three\n"
    )
    with pytest.raises(KeyError, match=r"a\.d"):
        with_values(text, {"a.d": Value("1")})


def test_the_scheduler_is_a_key_that_the_job_can_set(tmp_path: Path) -> None:
    settings = settings_of(with_scheduler(project_params(PARAMS, "slurm", "iemocap")), tmp_path)
    assert settings.cluster.scheduler is None
