"""The settings of training; every key has its unit and default here and nowhere else."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, model_validator

from .loading import Section

Protocol = Literal["loso-nested", "loso-reference", "speakers-nested", "folds-nested"]
Fault = Literal["temperature", "sum", "own-pairs", "same-class"]
REFERENCE: tuple[Fault, ...] = ("temperature", "sum", "own-pairs")

PRESETS: dict[str, dict[str, Any]] = {
    "light": {},
    # Li et al. 2024 and their code; the protocol stays honest.
    "paper": {
        "width": 512,
        "heads": 4,
        "layers": 2,
        "dropout": 0.1,
        "projection_dropout": 0.5,
        "frame_rate": None,
        "modality_dropout": 0.0,
        "batch_size": 16,
        "batch_frames": None,
        "epochs": 40,
        "learning_rate": 1e-4,
        "schedule": "constant",
        "warmup": 0.0,
        "clip": None,
    },
}
"""What a preset sets; every other key, and every key given beside or above it, stays as it is."""


class TrainSettings(Section):
    """How the heads are trained."""

    preset: Literal["light", "paper"] = Field(
        "light", description="light, or paper: the widths and the optimiser of Li et al. 2024; other keys override it"
    )
    modalities: Literal["both", "audio", "face"] = Field("both", description="the streams the network sees")
    audio: str | None = Field(None, description="which audio features, such as audio/hubert (none = the only ones)")
    face: str | None = Field(None, description="which face features, such as face/clip (none = the only ones)")
    avel: bool = Field(True, description="train with AVEL, audio-video emotion alignment")
    mem: bool = Field(True, description="train with MEM, cross-modal emotion label matching")
    avel_weight: float = Field(1.0, ge=0, description="weight of the AVEL loss")
    mem_weight: float = Field(0.1, ge=0, description="weight of the MEM loss")
    compat: tuple[Fault, ...] = Field(
        (),
        description="what the authors' code does otherwise, to compare with: reference (the first three), or some of "
        "temperature, sum, own-pairs, same-class",
    )
    protocol: Protocol | None = Field(
        None,
        description="who is tested and who chooses the epoch: loso-nested, speakers-nested, folds-nested, or "
        "loso-reference, whose results are selected on test (none = folds-nested where the manifest gives every "
        "utterance a fold, else loso-nested)",
    )
    seeds: tuple[NonNegativeInt, ...] = Field((0,), min_length=1, description="one full run over the folds per seed")
    frame_rate: float | None = Field(
        10.0, gt=0, description="faster features are averaged to this many frames per second (Hz; none = as they are)"
    )
    max_seconds: float | None = Field(
        None, gt=0, description="sequences are cut after this many seconds (none = whole)"
    )
    width: int = Field(128, ge=8, le=4096, description="d, width of the shared space")
    heads: int = Field(4, ge=1, le=64, description="attention heads; must divide width")
    layers: int = Field(2, ge=1, le=24, description="cross-attention layers each way")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in attention and before the classes")
    projection_dropout: float = Field(0.5, ge=0, lt=1, description="dropout in the projection blocks")
    modality_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the training utterances that lose one modality, drawn anew each time"
    )
    batch_size: int = Field(32, ge=2, le=65536, description="utterances per step")
    batch_frames: int | None = Field(
        8192,
        ge=1,
        description="frames in a step, of all modalities and with padding: batches of long utterances are smaller, and "
        "memory has a bound (none = any)",
    )
    epochs: int = Field(40, ge=1, le=10000, description="most epochs of one fold")
    early_stopping_patience: int = Field(
        15, ge=1, description="epochs without a better development UA before a fold stops"
    )
    learning_rate: float = Field(1e-3, gt=0, le=1, description="AdamW's step size, at its highest")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="how the step size goes on after the warm-up: down to zero over all epochs, or constant"
    )
    warmup: float = Field(1.0, ge=0, description="epochs over which the step size grows from zero")
    clip: float | None = Field(1.0, gt=0, description="longest gradient; longer ones are scaled to it (none = any)")
    weight_decay: float = Field(0.01, ge=0, le=1, description="AdamW's weight decay")
    bootstrap: int = Field(1000, ge=10, description="speaker resamples behind a 95% interval")
    load: Literal["memory", "disk"] = Field(
        "memory",
        description="memory: read the features once; disk: read them in every epoch, if they exceed the memory",
    )
    disk_buffer_mb: float = Field(128.0, gt=0, description="features in memory at a time when they are streamed, in MB")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="numbers that a GPU computes with (auto = bf16 where it can); a CPU always takes fp32"
    )

    @model_validator(mode="before")
    @classmethod
    def _lay_over_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        compat = values.get("compat", ())
        names = [compat] if isinstance(compat, str) else list(compat) if isinstance(compat, list | tuple) else compat
        if names in (["reference"], ["none"]):
            names = REFERENCE if names == ["reference"] else ()
        return {**PRESETS.get(str(values.get("preset", "light")), {}), **values, "compat": names}
