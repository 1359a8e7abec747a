"""params.yaml as frozen models; every key has its unit and default in this folder and nowhere else."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo

from ..errors import SettingsError
from ..text import shortened
from .extract_settings import (
    MODALITIES,
    STREAM_NAME,
    STREAM_RESERVED,
    AudioSettings,
    Channel,
    ExtractSettings,
    FaceSettings,
    Modality,
    StreamSettings,
    TextSettings,
    modality_of,
)
from .loading import Section, check_finite, check_renamed, explain_error, read_params, set_dotted
from .presets import PRESETS
from .train_settings import TrainSettings

__all__ = [
    "INDEX_NAME",
    "MODALITIES",
    "PARAMS",
    "STREAM_NAME",
    "STREAM_RESERVED",
    "AudioSettings",
    "Channel",
    "ClusterSettings",
    "CorpusSettings",
    "ExtractSettings",
    "FaceSettings",
    "Modality",
    "Settings",
    "StreamSettings",
    "SynthSettings",
    "TextSettings",
    "TrainSettings",
    "load_settings",
    "modality_of",
    "settings_field",
]

DURATION = re.compile(r"(?P<number>\d{1,9}(\.\d{1,9})?) ?(?P<unit>s|min|h|d|)")
SECONDS_PER_UNIT = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

INDEX_NAME = "feats.h5"
PARAMS = Path("params.yaml")
MAX_PROBLEMS = 20
"""Invalid keys that one message lists."""


class CorpusSettings(Section):
    """The corpus of the pipeline."""

    kind: Literal["synthetic", "iemocap", "meld", "cremad", "ravdess", "emodb", "savee", "mer", "folder", "csv"] = (
        Field(
            "synthetic",
            description="corpus: synthetic, iemocap, meld, cremad, ravdess, emodb, savee, mer (a folder and a table of "
            "labels, as MER2023), folder (one sub-folder per label), or csv (any table with paths and labels)",
        )
    )
    root: Path = Field(Path("data/synthetic"), description="corpus root; the paths of the manifest are relative to it")
    manifest: Path = Field(Path("manifests/corpus.csv"), description="manifest of the corpus (CSV)")
    allow_outside: bool = Field(
        False,
        description="allow media paths outside the corpus root (absolute, with .. or through symbolic links)",
    )
    classes: tuple[str, ...] | None = Field(
        None, description="labels to keep, in this order (none = the usual labels of the corpus)"
    )
    context: bool = Field(
        False,
        description="keep utterances with other labels as context, with an empty label (iemocap, synthetic, meld, csv)",
    )
    labels: Path | None = Field(
        None, description="table of paths and labels (csv, mer; none = csv: the root itself, mer: *label*.csv in it)"
    )
    columns: tuple[str, ...] | None = Field(
        None,
        description="columns of that table, such as path=FileName,label=Emotion, for path, audio, video, label, id, "
        "start, end, speaker, gender, session, fold, transcript, valence, arousal, dominance, dialog, turn, scene "
        "(none = by their usual names)",
    )
    normalize_labels: bool = Field(
        False, description="spell labels that differ only in case or spaces in the same way (folder, csv, mer)"
    )


class SynthSettings(Section):
    """The generated corpus."""

    utterances: int = Field(160, ge=20, le=5000, description="utterances of the four classes, over five sessions")
    seed: int = Field(2024, ge=0, lt=1 << 63, description="random seed; the same seed gives the same files")


class ClusterSettings(Section):
    """Workers, threads and devices, for extraction and for training."""

    workers: int = Field(
        0,
        ge=0,
        le=1024,
        description="number of Dask worker processes (0 = extraction: one per GPU, else one per two cores and at least "
        "two; training: none, the fits run in this process; ablation and tuning: one per GPU, else one per core)",
    )
    scheduler: str | None = Field(
        None,
        description="address of a running Dask scheduler, such as tcp://HOST:8786 (none = start workers on this "
        "machine)",
    )
    wait_workers: float | str | None = Field(
        None,
        description="how long a run waits for workers of a scheduler that has none, at its start or later: seconds, or "
        "a duration such as 30min or 2h (none = as long as the scheduler runs)",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads per process (0 = extraction: the cores divided among the workers; training: half of "
        "the cores, or one per worker)",
    )
    device: str = Field("auto", description="device: auto (a GPU if available), cpu, cuda or cuda:N")

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            raise ValueError(f"cluster.device: expected auto, cpu, cuda or cuda:N, got {value!r}")
        return value

    @field_validator("wait_workers")
    @classmethod
    def _check_duration(cls, value: float | str | None) -> float | str | None:
        if value is not None and not DURATION.fullmatch(str(value)):
            raise ValueError(f"cluster.wait_workers: expected seconds or a duration such as 30min or 2h, got {value!r}")
        return value

    def wait_seconds(self) -> float | None:
        """Seconds of `wait_workers`; None: as long as the scheduler runs."""
        match = DURATION.fullmatch(str(self.wait_workers))
        return float(match["number"]) * SECONDS_PER_UNIT[match["unit"]] if match else None


class Settings(Section):
    """The whole of params.yaml."""

    corpus: CorpusSettings = CorpusSettings()
    synth: SynthSettings = SynthSettings()
    cluster: ClusterSettings = ClusterSettings()
    extract: ExtractSettings = ExtractSettings()
    index: Path = Field(Path(INDEX_NAME), description="index over manifest and shards (feats.h5)")
    train: TrainSettings = TrainSettings()


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read params.yaml and override some of its keys.

    Args:
        path: settings file; None: params.yaml if it exists, else the defaults.
        overrides: dotted key to value, such as {"cluster.workers": 2}.

    Raises:
        SettingsError: names the key and, if it is unknown, the nearest known one.
    """
    values = read_params(path or PARAMS, required=path is not None)
    overrides = overrides or {}
    if isinstance(train := values.get("train"), dict):
        # A preset given as an option overrides the file's keys; other options override the preset.
        preset = overrides.get("train.preset")
        for key in PRESETS.get(preset, {}) if isinstance(preset, str) else ():
            train.pop(key, None)
    for key, value in overrides.items():
        set_dotted(values, key, value)
    check_renamed(values)
    check_finite(values)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        every = error.errors(include_url=False)
        # A tuple with an invalid item is reported a second time, as too short.
        items = {problem["loc"][:-1] for problem in every}
        problems = [problem for problem in every if problem["loc"] not in items]
        lines = [shortened(explain_error(problem, Settings)) for problem in problems[:MAX_PROBLEMS]]
        if len(problems) > MAX_PROBLEMS:
            lines.append(f"... and {len(problems) - MAX_PROBLEMS} more")
        raise SettingsError("\n".join(lines)) from None


def settings_field(key: str) -> FieldInfo:
    """The field behind a dotted key such as `extract.face.fps`; raises KeyError."""
    model: type[BaseModel] = Settings
    *sections, last = key.split(".")
    for section in sections:
        inner = model.model_fields[section].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            raise KeyError(key)
        model = inner
    return model.model_fields[last]
