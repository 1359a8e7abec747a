"""params.yaml as frozen models; every key has its unit and default here and nowhere else."""

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from ..errors import SettingsError
from ..text import quoted, shortened
from .loading import Section, check_finite, check_renamed, read_params, set_dotted
from .renamed import RENAMED_KEYS
from .train_settings import PRESETS, TrainSettings

Modality = Literal["audio", "face"]
MODALITIES: tuple[str, ...] = get_args(Modality)

INDEX_NAME = "feats.h5"
STREAM_RESERVED = frozenset(
    {"shard", "row", "offset", "length", "valid_frames", "origin", "note", "checksum", "quality", "values", "valid"}
)
STREAM_NAME = re.compile(rf"(?!(?:{'|'.join(sorted(STREAM_RESERVED))})\Z)[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}")
"""What may follow the slash in `face/clip`, which becomes a path inside HDF5: no slash, no space, no table of ours."""


def modality_of(stream: str) -> str:
    """The modality of a stream: `face` of `face/clip`."""
    return stream.partition("/")[0]


class CorpusSettings(Section):
    """Which corpus, and where."""

    kind: Literal["synthetic", "iemocap", "cremad", "ravdess", "folder"] = Field(
        "synthetic", description="which corpus the pipeline runs on"
    )
    root: Path = Field(Path("data/synthetic"), description="folder that the manifest's paths start from")
    manifest: Path = Field(Path("manifests/corpus.csv"), description="the manifest (CSV)")
    allow_outside: bool = Field(
        False,
        description="let the manifest's paths lead outside the corpus root: absolute, through .. or symbolic links",
    )
    classes: tuple[str, ...] | None = Field(
        None, description="labels to keep, in this order (none = the corpus' usual ones)"
    )


class SynthSettings(Section):
    """The corpus that is drawn and spoken."""

    utterances: int = Field(160, ge=20, le=5000, description="utterances of the four classes, over five sessions")
    seed: int = Field(2024, ge=0, lt=1 << 63, description="the same seed draws the same corpus")


class ClusterSettings(Section):
    """Workers, threads and devices, for extraction and for training."""

    workers: int = Field(
        0,
        ge=0,
        le=1024,
        description="Dask worker processes (0 = extraction: one per GPU, else one per two cores and at least two; "
        "training: none, the fits run in this process; ablation: one per GPU, else one per core)",
    )
    scheduler: str | None = Field(
        None,
        description="address of a running Dask scheduler, such as tcp://HOST:8786 (none = workers on this machine)",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="CPU threads of a process (0 = extraction: the cores divided among the workers; training: half of "
        "the cores, or one in each worker)",
    )
    device: str = Field("auto", description="device to compute on: auto (a GPU if there is one), cpu, cuda or cuda:N")

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", value):
            raise ValueError(f"cluster.device: expected auto, cpu, cuda or cuda:N, got {value!r}")
        return value


class AudioSettings(Section):
    """What is computed from the sound; every key is part of the shard's key."""

    encoder: str = Field(
        "random:tiny",
        description="model of the sound, wav2vec2, HuBERT, WavLM or data2vec-audio: a hub name, a local folder, or "
        "random:tiny (seeded random weights)",
    )
    revision: str = Field("main", description="branch, tag or commit of a hub encoder")
    layers: Literal["last", "mean", "all"] | tuple[int, ...] = Field(
        "last",
        description="hidden states to keep: last, mean (of all), all, or a list such as [6, 9, 12], where 0 is what "
        "enters the first layer; all and lists are stored layer by layer, and training learns their weights",
    )
    max_seconds: float = Field(
        30.0,
        ge=2,
        le=600,
        description="longer sound is encoded in overlapping windows of this many seconds, whose middles are kept",
    )


class FaceSettings(Section):
    """What is computed from the picture; every key is part of the shard's key."""

    encoder: str = Field(
        "random:tiny",
        description="network for the pictures: InceptionResnetV1 as vggface2 or casia-webface (downloaded once), a "
        "weight file, or random:facenet; any vision model of Hugging Face (CLIP, DINOv2, ViT) by hub name or folder; "
        "or random:tiny (random ones have seeded random weights)",
    )
    revision: str = Field("main", description="branch, tag or commit of a hub encoder")
    region: Literal["face", "crop", "frame"] = Field(
        "face", description="what the encoder sees: the detected face, the person's part of the picture, or all of it"
    )
    fps: float = Field(10.0, gt=0, le=1000, description="pictures looked at, per second (Hz)")
    size: int | None = Field(
        None, ge=16, le=1024, description="side of the face picture given to the encoder, in pixels (none = its own)"
    )
    margin: float = Field(0.2, ge=0, le=2, description="added around the detected face, as a fraction of its side")
    min_face_fraction: float = Field(
        0.1, gt=0, le=1, description="smallest face looked for, as a fraction of the crop's height"
    )
    min_probability: float = Field(0.9, ge=0, le=1, description="a detection below this probability is no face")
    detect_stride: int = Field(
        4,
        ge=1,
        le=1000,
        description="detect faces in every k-th picture looked at, and follow the box between (1 = all)",
    )


class ExtractSettings(Section):
    """How features are computed and laid down."""

    features_dir: Path = Field(Path("features"), description="folder of the shards")
    streams: tuple[str, ...] = Field(
        ("audio", "face"), min_length=1, description="streams to extract: audio, face, or names from extract.encoders"
    )
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="numbers that encoders compute with; bf16 and fp16 are faster and less exact"
    )
    batch_seconds: float | None = Field(
        None,
        ge=0,
        description="sound in one batch, in seconds (none = 240 on a GPU; on a CPU 0: one utterance at a time)",
    )
    batch_images: int = Field(0, ge=0, le=65536, description="pictures in one batch (0 = 128 on a GPU, 16 on a CPU)")
    decode_threads: int = Field(
        0,
        ge=0,
        le=64,
        description="decoding threads of a worker, ahead of its encoder (0 = up to 8 on a GPU, else one)",
    )
    chunk_seconds: float = Field(60.0, gt=0, description="media in one task and one shard, in seconds")
    dtype: Literal["float16", "float32"] = Field("float16", description="number format of the stored features")
    max_failures: int | str | None = Field(
        None,
        description="failed utterances beyond which a run is ended early: a number, or a share of them such as 5% "
        "(none = never)",
    )
    task_timeout: float = Field(
        300.0,
        gt=0,
        description="seconds that any chunk may take; beyond them and five times the time that others took for as much "
        "media, its worker is stopped",
    )
    check_disk_space: bool = Field(True, description="compare the free disk space with the features' size before a run")
    verify: bool = Field(True, description="compare finished shards with their checksums before taking them as done")
    fingerprint: Literal["stat", "content"] = Field(
        "stat", description="how a changed media file is noticed: stat (size and time of change) or content (a hash)"
    )
    seed: int = Field(2024, ge=0, lt=1 << 63, description="seed of encoders with random weights")
    audio: AudioSettings = AudioSettings()
    face: FaceSettings = FaceSettings()
    encoders: dict[str, dict[str, Any]] = Field(
        {},
        description="more encoders beside extract.audio and extract.face: audio/NAME or face/NAME, each with the keys "
        "in which it differs, such as {face/clip: {encoder: openai/clip-vit-base-patch32, region: frame}}",
    )

    @field_validator("max_failures")
    @classmethod
    def _check_failures(cls, value: int | str | None) -> int | str | None:
        if value is not None and not re.fullmatch(r"[0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,6})?%|100%", str(value)):
            raise ValueError(f"extract.max_failures: expected a number from 0 on or a share such as 5%, got {value!r}")
        return value

    def failures_allowed(self, utterances: int) -> float:
        """So many of the utterances may fail without ending the run."""
        if self.max_failures is None:
            return math.inf
        number, share, _ = str(self.max_failures).partition("%")
        return float(number) / 100 * utterances if share else float(number)

    @model_validator(mode="after")
    def _check_streams(self) -> Self:
        for name in self.encoders:
            modality, slash, rest = name.partition("/")
            if modality not in MODALITIES or not slash or not STREAM_NAME.fullmatch(rest):
                raise ValueError(f"extract.encoders: expected names like face/clip or audio/hubert, got {name!r}")
            self.stream(name)
        known = (*MODALITIES, *self.encoders)
        if unknown := [name for name in self.streams if name not in known]:
            raise ValueError(f"extract.streams: expected some of {', '.join(known)}, got {', '.join(unknown)}")
        return self

    def stream(self, name: str) -> AudioSettings | FaceSettings:
        """The settings of a stream: those of its modality, with what extract.encoders says otherwise."""
        base = self.audio if modality_of(name) == "audio" else self.face
        changes = self.encoders.get(name, {})
        known = type(base).model_fields
        if unknown := [key for key in changes if key not in known]:
            old = f"extract.{modality_of(name)}.{unknown[0]}"
            if old in RENAMED_KEYS:
                new = RENAMED_KEYS[old].rpartition(".")[2]
                raise ValueError(f"extract.encoders.{name}: key '{unknown[0]}' was renamed to '{new}'")
            near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5) or list(known)
            raise ValueError(f"extract.encoders.{name}: unknown key {unknown[0]!r}; did you mean {', '.join(near)}?")
        try:
            return type(base).model_validate({**base.model_dump(), **changes})
        except ValidationError as error:
            raise ValueError(f"extract.encoders.{name}: {_explain(error.errors()[0])}") from None


class Settings(Section):
    """All of params.yaml."""

    corpus: CorpusSettings = CorpusSettings()
    synth: SynthSettings = SynthSettings()
    cluster: ClusterSettings = ClusterSettings()
    extract: ExtractSettings = ExtractSettings()
    index: Path = Field(Path(INDEX_NAME), description="the index over the shards, which training reads")
    train: TrainSettings = TrainSettings()


PARAMS = Path("params.yaml")

MOST_PROBLEMS = 20


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read params.yaml (defaults where there is none) and lay `overrides` ({"cluster.workers": 2}) over it.

    Raises SettingsError that names the key and, if it is unknown, the nearest one.
    """
    values = read_params(path or PARAMS, required=path is not None)
    overrides = overrides or {}
    if isinstance(train := values.get("train"), dict):
        # A preset that is asked for now means more than the file's keys; what is given beside it, more than the preset.
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
        found = error.errors(include_url=False)
        more = f"\n... and {len(found) - MOST_PROBLEMS} more" if len(found) > MOST_PROBLEMS else ""
        raise SettingsError("\n".join(shortened(_explain(d)) for d in found[:MOST_PROBLEMS]) + more) from None


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


def _explain(detail: Any) -> str:
    """One line of English for one of pydantic's findings."""
    loc = [str(part) for part in detail["loc"]]
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    # A union lists its members behind the key; people know the key.
    key = ".".join(part for part in loc if not part.startswith(("literal[", "tuple[")))
    if detail["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1])
        near = difflib.get_close_matches(loc[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
        return f"unknown key '{key}' in the settings; {hint}"
    return f"settings key '{key}': {detail['msg'][:1].lower()}{detail['msg'][1:]}, got {quoted(detail['input'])}"


def _known_keys(sections: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for section in sections:
        inner = model.model_fields[section].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return list(model.model_fields)
