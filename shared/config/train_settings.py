"""The settings of training: unit, limits and default of each key."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from ..errors import SettingsError
from ..utterance import RATINGS
from .extract_settings import MODALITIES, STREAM_NAME, modality_of
from .fusion_settings import DIALOG_HEADS, FusionSettings, fusion_options
from .loading import Section
from .presets import PRESETS

Protocol = Literal[
    "loso-nested", "loso-reference", "speakers-nested", "folds-nested", "loso-scenes-nested", "erc-split"
]
Deviation = Literal["temperature", "sum", "own-pairs", "same-class"]
Pool = Literal["mean", "std", "attention"]
Context = Literal["past", "both", "none"]
Target = Literal["label", "soft", "valence", "arousal", "dominance"]
LABEL: Literal["label"] = "label"
SOFT: Literal["soft"] = "soft"
Share = Annotated[float, Field(ge=0, lt=1)]
REFERENCE: tuple[Deviation, ...] = ("temperature", "sum", "own-pairs")
"""The deviations of the reference code from the paper that `compat: reference` reproduces."""


class TrainSettings(Section):
    """Settings of training: data, protocol, architecture, optimizer."""

    preset: Literal["light", "paper"] = Field(
        "light",
        description="light (small and fast) or paper (sizes and optimizer of Li et al. 2024); other keys override it",
    )
    streams: tuple[str, ...] = Field(
        ("audio", "face"),
        min_length=1,
        description="streams to train on: audio, face or text (the only stream of that modality), or names such as "
        "face/clip; both = audio,face",
    )
    fold_features: tuple[str, ...] = Field(
        (),
        description="streams that differ by fold, such as audio/ft-{test}; {test} stands for the fold's test group, "
        "{fold} its number",
    )
    fusion: str = Field(
        "cross-attention",
        description="the fusion head: cross-attention (Foal-Net), another system of docs/fusion.md, or a head over "
        "the turns of a dialog such as dialog-gru (needs the column dialog)",
    )
    fusion_options: dict[str, Any] = Field({}, description="options of the fusion head, such as {rank: 4}")
    context: Context = Field(
        "past",
        description="turns that a dialog head reads beside a turn: past (those before it), both (later ones too: "
        "results read the future), or none",
    )
    avel: bool = Field(True, description="train with AVEL, audio-video emotion alignment (not in dialog heads)")
    mem: bool = Field(True, description="train with MEM, cross-modal emotion label matching (not in dialog heads)")
    avel_weight: float = Field(1.0, ge=0, description="weight of the AVEL loss")
    mem_weight: float = Field(0.1, ge=0, description="weight of the MEM loss")
    target: tuple[Target, ...] = Field(
        (LABEL,),
        min_length=1,
        description="what to learn: label (classes) or soft (shares of classes, columns label_NAME), and ratings: "
        "valence, arousal, dominance, alone or with one of these",
    )
    rating_weight: float = Field(1.0, gt=0, description="weight of the rating loss (1 - CCC) beside that of classes")
    compat: tuple[Deviation, ...] = Field(
        (),
        description="deviations of the reference code to reproduce: reference (the first three), or a list of "
        "temperature, sum, own-pairs, same-class",
    )
    protocol: Protocol | None = Field(
        None,
        description="cross-validation: loso-nested (by session), loso-scenes-nested (by session and scene), "
        "speakers-nested, folds-nested, erc-split (the last session), or loso-reference (epoch selected on the test "
        "group, as in the reference code) (none = folds-nested if every utterance has a fold in the manifest, else "
        "loso-nested)",
    )
    scene_groups: int | None = Field(
        None,
        ge=3,
        description="number of groups into which loso-scenes-nested divides the scenes; fewer groups mean fewer fits "
        "(none = one per scene)",
    )
    dev_from_train: float | None = Field(
        None,
        gt=0,
        le=0.5,
        description="share of the training set that chooses the epoch, taken by speakers, if the manifest's folds are "
        "train and test without a development fold (none = such folds are refused)",
    )
    normalize_labels: bool = Field(
        False, description="count labels that differ only in case or spaces as one label, in its most frequent spelling"
    )
    accept_labels: bool = Field(
        False, description="train although the labels are numbers, or almost as many as the utterances"
    )
    seeds: tuple[NonNegativeInt, ...] = Field(
        (0,), min_length=1, description="random seeds, one run over all folds each"
    )
    frame_rate: float | None = Field(
        10.0, gt=0, description="frame rate to which faster features are averaged, in Hz (none = no averaging)"
    )
    max_seconds: float | None = Field(
        None, gt=0, description="maximum sequence length in seconds; later frames are dropped (none = no limit)"
    )
    normalize: Literal["fold", "speaker"] = Field(
        "fold",
        description="statistics that standardize the features: of the training group (fold), or of all utterances of "
        "each speaker, without labels (speaker; uses the unlabelled utterances of the test speakers)",
    )
    width: int = Field(64, ge=8, le=4096, description="dimension of the shared space, d")
    heads: int = Field(4, ge=1, le=64, description="number of attention heads; must divide train.width")
    layers: int = Field(
        1, ge=0, le=24, description="number of cross-attention layers in each direction (0 = no attention)"
    )
    feed_forward: bool = Field(False, description="add a feed-forward layer to each cross-attention layer")
    positions: bool = Field(False, description="add sinusoidal positions before the cross-attention")
    pool: tuple[Pool, ...] = Field(
        ("mean", "std"), min_length=1, description="pooling over time: mean, std, attention, or several of them"
    )
    skip: bool = Field(True, description="add a path from the pooled input features to the class scores")
    skip_hidden: int = Field(
        64, ge=0, le=4096, description="hidden units of a perceptron beside the linear path (0 = the linear path only)"
    )
    input_limit: float | None = Field(
        3.0, gt=0, description="limit of standardized features, in deviations, against outliers (none = no limit)"
    )
    input_dropout: float = Field(0.2, ge=0, lt=1, description="dropout of input features, the same in all frames")
    frame_dropout: float = Field(0.0, ge=0, lt=1, description="share of frames that are dropped in training")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout in attention and before the classifier")
    projection_dropout: float = Field(
        0.5, ge=0, lt=1, description="dropout in the projection blocks and of the hidden units of train.skip_hidden"
    )
    modality_dropout: Share | dict[str, Share] = Field(
        0.0,
        description="share of training utterances that lose one modality, drawn again in each epoch; or the share of "
        "each modality or stream, such as {text: 0.3}",
    )
    batch_size: int | None = Field(
        None,
        ge=2,
        le=65536,
        description="maximum number of utterances per step (none = a twelfth of the training group, 16 to 96)",
    )
    batch_frames: int | None = Field(
        8192,
        ge=1,
        description="maximum number of frames per step over all modalities, padding included; reduces the batch size "
        "of long utterances (none = no limit)",
    )
    epochs: int = Field(25, ge=1, le=10000, description="maximum number of epochs per fold")
    select: Literal["ua", "loss", "last"] = Field(
        "last", description="epoch that is kept: best development UA, lowest development loss, or the last one"
    )
    refit: bool = Field(
        True,
        description="after the selection, train a new network on training and development group, for as many epochs",
    )
    early_stopping_patience: int | None = Field(
        15, ge=1, description="epochs without a better development score after which a fold stops (none = never)"
    )
    learning_rate: float = Field(2.5e-3, gt=0, le=1, description="peak learning rate of AdamW")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="learning rate after the warm-up: cosine decay to zero over all epochs, or constant"
    )
    warmup: float = Field(1.0, ge=0, description="linear warm-up of the learning rate from zero, in epochs")
    clip: float | None = Field(1.0, gt=0, description="maximum gradient norm (none = no clipping)")
    weight_decay: float = Field(0.01, ge=0, le=1, description="weight decay of AdamW")
    decay: Literal["matrices", "all"] = Field(
        "matrices", description="parameters that decay: weight matrices, or all (biases, norms and placeholders too)"
    )
    initialization: Literal["uniform", "normal"] = Field(
        "uniform",
        description="initial weights of linear layers: uniform (PyTorch's), or normal (deviation 0.02, biases 0)",
    )
    bootstrap: int = Field(1000, ge=10, description="number of bootstrap resamples of speakers for the 95% intervals")
    load: Literal["memory", "disk"] = Field(
        "memory",
        description="memory (read the features once) or disk (read them in every epoch; needs less memory)",
    )
    disk_buffer_mb: float = Field(128.0, gt=0, description="buffer for features read from disk, in MB")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="number format on a GPU (auto = bf16 if supported); a CPU always uses fp32"
    )

    @property
    def head_options(self) -> FusionSettings:
        """The options of the fusion head, with the defaults of those that are not set."""
        return fusion_options(self.fusion, self.fusion_options)

    @property
    def over_dialogs(self) -> bool:
        """Whether the head reads whole dialogs."""
        return self.fusion in DIALOG_HEADS

    def check_losses(self, given: Collection[str]) -> None:
        """Raise SettingsError if an option, of which `given` are the keys, asks a head over dialogs for AVEL or MEM."""
        for name in ("avel", "mem") if self.over_dialogs else ():
            if f"train.{name}" in given and getattr(self, name):
                raise SettingsError(
                    f"--{name}: expected a head with {name.upper()}, got --fusion {self.fusion}, which has none; leave "
                    f"--{name} out, or choose --fusion cross-attention"
                )

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        compat = values.get("compat", ())
        names = [compat] if isinstance(compat, str) else list(compat) if isinstance(compat, list | tuple) else compat
        if names in (["reference"], ["none"]):
            names = REFERENCE if names == ["reference"] else ()
        return {**PRESETS.get(str(values.get("preset", "light")), {}), **values, "compat": names}

    @field_validator("streams", mode="before")
    @classmethod
    def _expand_both(cls, value: Any) -> Any:
        return ("audio", "face") if value in ("both", ["both"], ("both",)) else value

    @field_validator("streams")
    @classmethod
    def _check_streams(cls, streams: tuple[str, ...]) -> tuple[str, ...]:
        """Check the names, and sort them: audio, face, text. The order must not change the results."""
        for name in streams:
            modality, slash, rest = name.partition("/")
            if modality not in MODALITIES or (slash and not STREAM_NAME.fullmatch(rest)):
                raise ValueError(
                    f"train.streams: expected {', '.join(MODALITIES)}, or the name of a stream such as face/clip, got "
                    f"{name!r}"
                )
        if len(set(streams)) < len(streams):
            raise ValueError(f"train.streams: expected every stream once, got {', '.join(streams)}")
        return tuple(sorted(streams, key=lambda name: (MODALITIES.index(modality_of(name)), name)))

    @field_validator("target", mode="before")
    @classmethod
    def _listed_target(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value

    @field_validator("target")
    @classmethod
    def _check_target(cls, target: tuple[Target, ...]) -> tuple[Target, ...]:
        """Check that targets do not exclude each other, and sort them. The order must not change the results."""
        if len(set(target)) < len(target):
            raise ValueError(f"train.target: expected every target once, got {', '.join(target)}")
        if {LABEL, SOFT} <= set(target):
            raise ValueError("train.target: expected label or soft, got both; soft is scored against the labels anyway")
        order = [LABEL, SOFT, *RATINGS]
        return tuple(sorted(target, key=order.index))

    @model_validator(mode="after")
    def _check_select(self) -> Self:
        if self.select == "ua" and not self.has_classes:
            preset = " (set by the preset paper)" if self.preset == "paper" else ""
            raise ValueError(
                f"train.select: ua{preset} needs classes, but train.target is {', '.join(self.target)}; choose "
                "--select loss, which is 1 - CCC of the development group, or --select last"
            )
        return self

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The rated dimensions among the targets."""
        return tuple(name for name in self.target if name in RATINGS)

    @property
    def has_classes(self) -> bool:
        """Whether classes are among the targets, as labels or as soft labels."""
        return LABEL in self.target or SOFT in self.target

    @model_validator(mode="after")
    def _check_head(self) -> Self:
        fusion_options(self.fusion, self.fusion_options)
        if self.over_dialogs and self.target != (LABEL,):
            raise ValueError(
                f"train.target: {', '.join(self.target)} is not supported by heads over dialogs (train.fusion: "
                f"{self.fusion}), which learn label only; choose train.fusion: cross-attention"
            )
        if self.context != "past" and not self.over_dialogs:
            raise ValueError(
                f"train.context: {self.context} needs a head that reads dialogs, got train.fusion: {self.fusion}; "
                f"choose {' or '.join(DIALOG_HEADS)}, or leave train.context out"
            )
        return self

    @model_validator(mode="after")
    def _check_dropped_modalities(self) -> Self:
        known = {*self.streams, *map(modality_of, self.streams)}
        for name in self.modality_dropout if isinstance(self.modality_dropout, dict) else ():
            if name not in known:
                raise ValueError(
                    f"train.modality_dropout: expected modalities or streams of {', '.join(self.streams)}, got {name!r}"
                )
        return self
