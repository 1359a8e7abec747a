"""The settings of extraction: streams and their encoders, tasks, files; each key has its unit and default here only."""

import difflib
import math
import re
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from .loading import Section, explain_error
from .renamed import RENAMED_KEYS

Modality = Literal["audio", "face", "text"]
MODALITIES: tuple[str, ...] = get_args(Modality)

Channel = str | int
"""Channel of a recording: `mean` of all, the `left` or `right` one of several, or its number, from 0 on."""

STREAM_RESERVED = frozenset(
    {"shard", "row", "offset", "length", "valid_frames", "origin", "note", "checksum", "quality", "values", "valid"}
)
STREAM_NAME = re.compile(rf"(?!(?:{'|'.join(sorted(STREAM_RESERVED))})\Z)[A-Za-z0-9][A-Za-z0-9._-]{{0,63}}")
"""The part after the slash in `face/clip`. It becomes a path in HDF5: no slash, no space, none of foal's tables."""


def modality_of(stream: str) -> str:
    """The modality of a stream: `face` of `face/clip`."""
    return stream.partition("/")[0]


class AudioSettings(Section):
    """What is computed from the audio; every key is part of the config hash."""

    encoder: str = Field(
        "random:tiny",
        description="audio encoder: a hub name or local folder (wav2vec2, HuBERT, WavLM, data2vec-audio, UniSpeech, "
        "SEW, MMS, Wav2Vec2-BERT, Whisper), opensmile:eGeMAPSv02 or opensmile:ComParE_2016 (each also with "
        "/functionals), or random:tiny (seeded random weights)",
    )
    revision: str = Field("main", description="branch, tag or commit of a hub encoder")
    layers: Literal["last", "mean", "all"] | tuple[int, ...] = Field(
        "last",
        description="hidden states to store: last, mean (of all), all, or a list such as [6, 9, 12], 0 being the input "
        "of the first layer; training learns the weights of several layers",
    )
    channel: Channel = Field(
        "mean",
        description="channel to encode: mean (of all), left, right, or a number from 0 on, for recordings with a "
        "speaker per channel",
    )
    max_seconds: float = Field(
        30.0,
        ge=2,
        le=600,
        description="window length in seconds; longer audio is encoded in overlapping windows, whose middles are kept "
        "(Whisper: at most 30; openSMILE reads the whole)",
    )

    @field_validator("channel")
    @classmethod
    def _check_channel(cls, value: Channel) -> Channel:
        if str(value) in ("mean", "left", "right"):
            return value
        if not re.fullmatch("[0-9]{1,4}", str(value)):
            raise ValueError(f"extract.audio.channel: expected mean, left, right or a number from 0 on, got {value!r}")
        return int(value)


class FaceSettings(Section):
    """What is computed from the video; every key is part of the config hash."""

    encoder: str = Field(
        "random:tiny",
        description="face encoder: vggface2 or casia-webface (InceptionResnetV1, downloaded once), a weight file, any "
        "vision model of Hugging Face (or VideoMAE) by hub name or folder, random:tiny or random:facenet (seeded "
        "random weights)",
    )
    revision: str = Field("main", description="branch, tag or commit of a hub encoder")
    region: Literal["face", "crop", "frame"] = Field(
        "face", description="input of the encoder: the detected face, the speaker's part of the frame, or the frame"
    )
    fps: float = Field(10.0, gt=0, le=1000, description="frames analysed per second of video (Hz)")
    size: int | None = Field(
        None, ge=16, le=1024, description="side of the encoder's input image, in pixels (none = the encoder's own)"
    )
    crop_shape: Literal["stretched", "square"] | None = Field(
        None,
        description="how a detected face becomes a square image: stretched (its box, as facenet-pytorch cuts it) or "
        "square (a square around it); none = stretched for InceptionResnetV1, square for other encoders",
    )
    margin: float | None = Field(
        None,
        ge=0,
        le=2,
        description="margin around the detected face, half of it on each side: for stretched faces as a fraction of "
        "the box's width and height, for square ones of its longer side (none = 0 for stretched, 0.2 for square)",
    )
    choose: Literal["first-followed", "largest", "centre"] = Field(
        "first-followed",
        description="which of several faces is encoded: first-followed (the largest of the first frame that has one, "
        "then the nearest to the last one), largest (in each frame), or centre (in each frame, the nearest to the "
        "centre of the picture)",
    )
    min_face_fraction: float = Field(
        0.1, gt=0, le=1, description="smallest face to detect, as a fraction of the crop's height"
    )
    min_probability: float = Field(0.9, ge=0, le=1, description="lowest probability of an accepted detection")
    detect_stride: int = Field(
        4, ge=1, le=1000, description="detect faces in every k-th analysed frame and interpolate between (1 = all)"
    )


class TextSettings(Section):
    """What is computed from the transcripts; every key is part of the config hash."""

    encoder: str = Field(
        "random:tiny",
        description="text encoder: a hub name or local folder with tokenizer.json (BERT, RoBERTa, XLM-R, DistilBERT, "
        "ELECTRA, MPNet, DeBERTa, ALBERT, ModernBERT, CLIP, and sentence encoders of these families), or random:tiny "
        "(seeded random weights, a token per byte)",
    )
    revision: str = Field("main", description="branch, tag or commit of a hub encoder")
    layers: Literal["last", "mean", "all"] | tuple[int, ...] = Field(
        "last",
        description="hidden states to store: last, mean (of all), all, or a list such as [9, 10, 11, 12], 0 being the "
        "input of the first layer; training learns the weights of several layers",
    )
    pool: Literal["tokens", "mean", "cls", "sentence"] = Field(
        "tokens",
        description="vectors per utterance: one per token (tokens), their mean, that of the classification token "
        "(cls), or the model's own sentence vector (sentence: by its 1_Pooling/config.json, of unit length)",
    )
    prefix: str = Field(
        "",
        max_length=200,
        description="words that the model expects in front of each transcript, such as 'query: '; not stored",
    )
    tags: Literal["strip", "keep"] = Field(
        "strip", description="tags of sounds such as [LAUGHTER] in the transcripts: strip or keep"
    )
    context: int = Field(
        0, ge=0, le=50, description="previous turns of the dialog that the encoder reads as well; they are not stored"
    )
    speakers: Literal["none", "letters"] = Field(
        "none", description="speakers in the context: none, or letters (A:, B:, in the order in which they speak)"
    )
    transcripts: str = Field(
        "manual", description="where the transcripts come from, for the record: manual or asr:NAME", max_length=100
    )

    @field_validator("transcripts")
    @classmethod
    def _check_transcripts(cls, value: str) -> str:
        if not re.fullmatch(r"manual|asr:\S+", value):
            raise ValueError(f"extract.text.transcripts: expected manual or asr:NAME, got {value!r}")
        return value

    @model_validator(mode="after")
    def _check_pool(self) -> Self:
        if self.pool == "sentence" and (self.layers != "last" or self.context):
            raise ValueError(
                "extract.text.pool: sentence is one vector of the last layer and of one utterance; expected layers: "
                f"last and context: 0, got layers: {self.layers} and context: {self.context}"
            )
        return self


StreamSettings = AudioSettings | FaceSettings | TextSettings
"""The settings of a stream, by its modality."""


class ExtractSettings(Section):
    """How features are computed and stored."""

    features_dir: Path = Field(Path("features"), description="folder of the feature shards")
    streams: tuple[str, ...] = Field(
        ("audio", "face"),
        min_length=1,
        description="streams to extract: audio, face, text, or names from extract.encoders",
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        "fp32",
        description="number format of the encoders; on a GPU tf32 (float32, multiplied with fewer digits), bf16 and "
        "fp16 are faster and, in this order, less precise or of smaller range",
    )
    batch_seconds: float | None = Field(
        None,
        ge=0,
        description="audio per batch, in seconds (none = 240 on a GPU; on a CPU 0: one utterance at a time)",
    )
    batch_images: int = Field(0, ge=0, le=65536, description="images per batch (0 = 128 on a GPU, 16 on a CPU)")
    batch_tokens: int = Field(
        0, ge=0, le=1 << 20, description="tokens per batch, padding included (0 = 16384 on a GPU, 2048 on a CPU)"
    )
    decode_threads: int = Field(
        0,
        ge=0,
        le=64,
        description="threads per worker that decode media ahead of the encoder (0 = up to 8 on a GPU, else one)",
    )
    chunk_seconds: float = Field(
        0.0,
        ge=0,
        description="media per task and per shard, in seconds (0 = 60, and up to 600 where much is left or workers "
        "have GPUs)",
    )
    dtype: Literal["float16", "float32"] = Field("float16", description="number format of the stored features")
    max_failures: int | str | None = Field(
        None,
        description="stop the run after more failed utterances than this: a number, or a share such as 5% (none = "
        "never)",
    )
    task_timeout: float = Field(
        300.0,
        gt=0,
        description="shortest time limit of a chunk, in seconds; a worker is stopped if it exceeds both this and five "
        "times the usual time for as much media",
    )
    check_disk_space: bool = Field(True, description="check before a run that the features fit on the disk")
    verify: bool = Field(
        True,
        description="verify the checksums of finished shards before a run reuses them; unchanged ones once",
    )
    fingerprint: Literal["stat", "content"] = Field(
        "stat",
        description="how changed media files are recognized: stat (size and modification time; the content is compared "
        "only where just the time differs) or content (hash on every run)",
    )
    seed: int = Field(2024, ge=0, lt=1 << 63, description="seed of encoders with random weights")
    audio: AudioSettings = AudioSettings()
    face: FaceSettings = FaceSettings()
    text: TextSettings = TextSettings()
    encoders: dict[str, dict[str, Any]] = Field(
        {},
        description="additional encoders: audio/NAME, face/NAME or text/NAME, each with the keys that differ from "
        "extract.audio, extract.face or extract.text, such as {face/clip: {encoder: openai/clip-vit-base-patch32, "
        "region: frame}}",
    )

    @field_validator("max_failures")
    @classmethod
    def _check_failures(cls, value: int | str | None) -> int | str | None:
        if value is not None and not re.fullmatch(r"[0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,6})?%|100%", str(value)):
            raise ValueError(f"extract.max_failures: expected a number from 0 on or a share such as 5%, got {value!r}")
        return value

    def failures_allowed(self, utterances: int) -> float:
        """How many of `utterances` may fail before the run is stopped."""
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

    def stream(self, name: str) -> StreamSettings:
        """The settings of a stream: those of its modality, overridden by its keys in extract.encoders.

        Raises:
            ValueError: a key of the stream is unknown, renamed or invalid.
        """
        base: StreamSettings = getattr(self, modality_of(name))
        changes = self.encoders.get(name, {})
        known = type(base).model_fields
        if unknown := [key for key in changes if key not in known]:
            old = f"extract.{modality_of(name)}.{unknown[0]}"
            if old in RENAMED_KEYS:
                new = RENAMED_KEYS[old].rpartition(".")[2]
                raise ValueError(f"extract.encoders.{name}: key '{unknown[0]}' was renamed to '{new}'")
            near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
            raise ValueError(f"extract.encoders.{name}: unknown key '{unknown[0]}'; {hint}")
        try:
            return type(base).model_validate({**base.model_dump(), **changes})
        except ValidationError as error:
            raise ValueError(f"extract.encoders.{name}: {explain_error(error.errors()[0], type(base))}") from None
