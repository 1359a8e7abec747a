"""params.yaml as frozen models; every key has its unit and default here and nowhere else."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError
from pydantic.fields import FieldInfo

from .errors import SettingsError

Modality = Literal["audio", "face"]
MODALITIES: tuple[str, ...] = get_args(Modality)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusSettings(_Section):
    """Which corpus, and where."""

    kind: Literal["synthetic", "iemocap", "cremad", "ravdess", "folder"] = Field(
        "synthetic", description="which corpus the pipeline runs on"
    )
    root: Path = Field(Path("data/synthetic"), description="folder that the manifest's paths start from")
    manifest: Path = Field(Path("manifests/corpus.csv"), description="the manifest (CSV)")
    classes: tuple[str, ...] | None = Field(
        None, description="labels to keep, in this order (none = the corpus' usual ones)"
    )


class SynthSettings(_Section):
    """The corpus that is drawn and spoken."""

    utterances: int = Field(160, ge=20, le=5000, description="utterances of the four classes, over five sessions")
    seed: int = Field(2024, ge=0, description="the same seed draws the same corpus")


class AudioSettings(_Section):
    """What is computed from the sound; every key but those of the machine is part of the shard's key."""

    encoder: str = Field(
        "random:tiny",
        description="model of the sound, wav2vec2, HuBERT, WavLM or data2vec-audio: a hub name, a local folder, or "
        "random:tiny (seeded random weights)",
    )
    revision: str = Field("main", description="branch, tag or commit of a hub encoder")


class FaceSettings(_Section):
    """What is computed from the picture."""

    encoder: str = Field(
        "random:tiny",
        description="network for the faces, InceptionResnetV1: vggface2, casia-webface (downloaded once), a file, "
        "or random:facenet; or random:tiny (random ones have seeded random weights)",
    )
    fps: float = Field(10.0, gt=0, le=1000, description="pictures looked at, per second (Hz)")
    size: int = Field(160, ge=16, le=1024, description="side of the face picture given to the encoder, in pixels")
    margin: float = Field(0.2, ge=0, le=2, description="added around the detected face, as a fraction of its side")
    min_face: float = Field(0.1, gt=0, le=1, description="smallest face looked for, as a fraction of the crop's height")
    min_probability: float = Field(0.9, ge=0, le=1, description="a detection below this probability is no face")


class ExtractSettings(_Section):
    """How features are computed and laid down."""

    features: Path = Field(Path("features"), description="folder of the shards")
    modalities: tuple[Modality, ...] = Field(("audio", "face"), min_length=1, description="what is extracted")
    workers: int = Field(0, ge=0, le=1024, description="Dask worker processes (0 = one per two cores, at least two)")
    chunk_seconds: float = Field(60.0, gt=0, description="media in one task and one shard, in seconds")
    store: Literal["float16", "float32"] = Field("float16", description="number format of the stored features")
    verify: bool = Field(True, description="compare finished shards with their checksums before taking them as done")
    seed: int = Field(2024, ge=0, description="seed of encoders with random weights")
    audio: AudioSettings = AudioSettings()
    face: FaceSettings = FaceSettings()


class TrainSettings(_Section):
    """How the heads are trained."""

    modalities: Literal["both", "audio", "face"] = Field("both", description="the streams the network sees")
    align: bool = Field(True, description="train with AVEL, audio-video emotion alignment")
    match: bool = Field(True, description="train with MEM, cross-modal emotion label matching")
    align_weight: float = Field(1.0, ge=0, description="weight of the AVEL loss")
    match_weight: float = Field(0.1, ge=0, description="weight of the MEM loss")
    protocol: Literal["loso-nested"] = Field(
        "loso-nested", description="leave one session (or fold) out; another one chooses the epoch"
    )
    seeds: tuple[NonNegativeInt, ...] = Field((0,), min_length=1, description="one full run over the folds per seed")
    frame_rate: float | None = Field(
        10.0, gt=0, description="faster features are averaged to this many frames per second (Hz; none = as they are)"
    )
    width: int = Field(128, ge=8, le=4096, description="d, width of the shared space")
    heads: int = Field(4, ge=1, le=64, description="attention heads; must divide width")
    layers: int = Field(2, ge=1, le=24, description="cross-attention layers each way")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in attention and before the classes")
    projection_dropout: float = Field(0.5, ge=0, lt=1, description="dropout in the projection blocks")
    batch_size: int = Field(32, ge=2, le=65536, description="utterances per step")
    epochs: int = Field(40, ge=1, le=10000, description="most epochs of one fold")
    patience: int = Field(15, ge=1, description="epochs without a better development UA before a fold stops")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="AdamW's step size")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW's weight decay")
    bootstrap: int = Field(1000, ge=10, description="speaker resamples behind a 95% interval")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads (0 = half of what PyTorch would take)")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")


class Settings(_Section):
    """All of params.yaml."""

    corpus: CorpusSettings = CorpusSettings()
    synth: SynthSettings = SynthSettings()
    extract: ExtractSettings = ExtractSettings()
    index: Path = Field(Path("feats.h5"), description="the index over the shards, which training reads")
    train: TrainSettings = TrainSettings()


PARAMS = Path("params.yaml")


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read params.yaml (defaults where there is none) and lay `overrides` ({"extract.workers": 2}) over it.

    Raises SettingsError that names the key and, if it is unknown, the nearest one.
    """
    values = _read_yaml(path or PARAMS, required=path is not None)
    for key, value in (overrides or {}).items():
        _put(values, key, value)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(detail) for detail in error.errors())) from None


def field_of(key: str) -> FieldInfo:
    """The field behind a dotted key such as `extract.face.fps`; raises KeyError."""
    model: type[BaseModel] = Settings
    *sections, last = key.split(".")
    for section in sections:
        inner = model.model_fields[section].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            raise KeyError(key)
        model = inner
    return model.model_fields[last]


def _read_yaml(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise SettingsError(f"{path}: there is no such settings file") from None
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read as YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected sections such as 'extract:', got a {type(values).__name__}")
    return values


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"settings key '{section}': expected a section with keys of its own, got {inner!r}")
        values = inner
    values[last] = value


def _explain(detail: Any) -> str:
    """One line of English for one of pydantic's findings."""
    loc = [str(part) for part in detail["loc"]]
    key = ".".join(loc)
    if detail["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1])
        near = difflib.get_close_matches(loc[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
        return f"unknown key '{key}' in the settings; {hint}"
    return f"settings key '{key}': {detail['msg'][:1].lower()}{detail['msg'][1:]}, got {detail['input']!r}"


def _known_keys(sections: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for section in sections:
        inner = model.model_fields[section].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return list(model.model_fields)
