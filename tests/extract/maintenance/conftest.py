"""A features folder with shards of the current and of other settings."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from foal.extract.schedule.stream_spec import current_config_hash
from foal.shared.config.settings import ExtractSettings
from foal.shared.manifest import write_manifest
from foal.shared.utterance import Utterance

OLD = "0" * 64


@pytest.fixture
def hash_of() -> Callable[..., str]:
    """The config hash of a stream with the given settings of the section `extract`."""

    def compute(stream: str, **settings: object) -> str:
        return current_config_hash(ExtractSettings.model_validate(settings), stream)

    return compute


@pytest.fixture
def write_params(tmp_path: Path) -> Callable[..., None]:
    """Write params.yaml with the given settings of the section `extract`."""

    def write(**extract: object) -> None:
        values = {"corpus": {"manifest": "m.csv", "root": "."}, "extract": extract}
        (tmp_path / "params.yaml").write_text(json.dumps(values))

    return write


@pytest.fixture
def project(
    tmp_path: Path,
    make_features: Callable[..., Path],
    sample_utterances: Sequence[Utterance],
    hash_of: Callable[..., str],
    write_params: Callable[..., None],
) -> Path:
    """A folder with manifest, settings, and shards of the current and of other settings, but no index."""
    write_manifest(tmp_path / "m.csv", sample_utterances)
    write_params()
    for modality in ("audio", "face"):
        make_features(tmp_path / "features", sample_utterances, widths={modality: 4}, key=hash_of(modality))
    make_features(tmp_path / "features", sample_utterances, key=OLD)
    return tmp_path
