"""The fusion systems of `train.fusion`: what each needs, and its options, the keys of `train.fusion_options`."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from ..text import quoted
from .loading import Section

Weight = Annotated[float, Field(ge=0, le=100)]
Temperature = Annotated[float, Field(gt=0, le=10)]
Layers = Annotated[int, Field(ge=1, le=24)]
Heads = Annotated[int, Field(ge=1, le=64)]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a fusion system needs of the features; checked before training.

    Attributes:
        streams: least number of streams.
        text: whether one of them must be text.
        grid: whether all streams must have one frame rate (or one vector per utterance).
        dialogs: whether it reads the turns of whole dialogs.
    """

    streams: int = 1
    text: bool = False
    grid: bool = False
    dialogs: bool = False


class FusionSettings(Section):
    """Options of a fusion system; a sub-class per system."""

    needs: ClassVar[Needs] = Needs()


class CrossAttentionSettings(FusionSettings):
    """Foal-Net; its options are those of the network: train.layers, train.heads, train.pool, ..."""


class ConcatSettings(FusionSettings):
    """Means of the streams, joined."""

    hidden: int = Field(0, ge=0, le=4096, description="hidden units after the concatenation (0 = none)")


class AttentionSettings(FusionSettings):
    """Weights over the streams (MERBench)."""

    hidden: int = Field(64, ge=1, le=4096, description="hidden units of the layer that weights the streams")
    softmax: bool = Field(False, description="weights sum to 1; false: unbounded weights, as in MERBench")


class TfnSettings(FusionSettings):
    """Tensor fusion (Zadeh et al. 2017)."""

    needs = Needs(streams=2)
    reduced: int = Field(32, ge=1, le=256, description="dimension of each stream in the tensor")
    hidden: int = Field(128, ge=1, le=4096, description="hidden units after the tensor")


class LmfSettings(FusionSettings):
    """Low-rank multimodal fusion (Liu et al. 2018)."""

    needs = Needs(streams=2)
    rank: int = Field(4, ge=1, le=64, description="rank of the factorized tensor")


class FbpSettings(FusionSettings):
    """Factorized bilinear pooling (Zhou et al. 2019, EmotiW)."""

    needs = Needs(streams=2)
    pooling: Literal["mean", "self", "relation", "transformer"] = Field(
        "transformer", description="attention over the frames of a stream"
    )
    factors: int = Field(4, ge=1, le=64, description="products that are summed per output")
    adaptive: bool = Field(False, description="weight the streams before the product, in the manner of AM-FBP")


class MisaSettings(FusionSettings):
    """Modality-invariant and -specific representations (Hazarika et al. 2020)."""

    needs = Needs(streams=2)
    heads: Heads = Field(2, description="attention heads over the representations")
    moments: int = Field(5, ge=1, le=10, description="moments of the central moment discrepancy")
    similarity: Weight = Field(0.3, description="weight of the similarity loss")
    difference: Weight = Field(0.1, description="weight of the difference loss")
    reconstruction: Weight = Field(0.1, description="weight of the reconstruction loss")


class MmimSettings(FusionSettings):
    """Mutual information maximization (Han et al. 2021)."""

    needs = Needs(streams=2)
    mutual: Weight = Field(0.1, description="weight of the bound on the mutual information between streams")
    contrastive: Weight = Field(0.1, description="weight of the contrastive prediction of each stream from the fusion")
    temperature: Temperature = Field(0.1, description="temperature of the contrastive prediction")


class TextGateSettings(FusionSettings):
    """Text decides how much each stream counts; a design of foal."""

    needs = Needs(streams=2, text=True)


class LmamSettings(FusionSettings):
    """Low-rank matching attention (Shou et al. 2025), over frames."""

    rank: int = Field(16, ge=1, le=1024, description="rank of the matching matrix")


class GbanSettings(FusionSettings):
    """Gated bidirectional alignment (Liu et al. 2020)."""

    needs = Needs(streams=2)
    scores: Literal["scaled", "tanh"] = Field(
        "scaled", description="alignment scores: scaled dot products, or their tanh as in the paper"
    )


class MultSettings(FusionSettings):
    """Multimodal transformer (Tsai et al. 2019)."""

    needs = Needs(streams=2)
    layers: Layers = Field(2, description="layers of each stack")
    heads: Heads = Field(4, description="attention heads")
    positions: bool = Field(True, description="add sinusoidal positions")


class MptSettings(FusionSettings):
    """Multimodal prompt transformer with hybrid contrastive learning, in the manner of Zou et al. 2023."""

    needs = Needs(streams=2)
    strong: str | None = Field(
        None,
        description="the stream that is encoded; the others become prompts (none = text, else audio, else the first)",
    )
    layers: Layers = Field(2, description="transformer layers")
    heads: Heads = Field(4, description="attention heads")
    prompts: int = Field(4, ge=1, le=64, description="prompts of each weak stream")
    unsupervised: Weight = Field(0.1, description="weight of the contrastive loss of two dropout passes")
    supervised: Weight = Field(0.1, description="weight of the supervised contrastive loss")
    temperature: Temperature = Field(0.1, description="temperature of both")


class CfnSettings(FusionSettings):
    """Cross-modal fusion with vector connections, in the manner of Shi et al. 2024."""

    layers: Layers = Field(2, description="transformer layers of each stream")
    heads: Heads = Field(4, description="attention heads")
    vectors: int = Field(8, ge=1, le=256, description="connection vectors")
    classifiers: Weight = Field(1.0, description="weight of the cross entropies of a classifier per stream (0 = none)")
    contrastive: Weight = Field(0.1, description="weight of the inter-class contrastive loss")
    temperature: Temperature = Field(0.1, description="temperature of that loss")


class AimditSettings(FusionSettings):
    """Modality augmentation and interaction, in the manner of AIMDiT (Wu et al. 2024)."""

    needs = Needs(streams=2)
    slots: int = Field(32, ge=2, le=1024, description="time slots to which every stream is averaged")
    kernels: int = Field(3, ge=1, le=6, description="convolutions of an inception block")
    bottleneck: int = Field(4, ge=1, le=64, description="divisor of the hidden channels")
    layers: Layers = Field(2, description="cross-attention layers of each pair")
    heads: Heads = Field(4, description="attention heads")


class JmtSettings(FusionSettings):
    """Joint multimodal transformer (Waligora et al. 2024)."""

    needs = Needs(streams=2, grid=True)
    layers: Layers = Field(1, description="transformer layers of each encoder")
    heads: Heads = Field(4, description="attention heads")
    residual: bool = Field(False, description="residual connections around the cross-attention")


class JcaSettings(FusionSettings):
    """Joint cross-attention (Praveen et al. 2022 and 2023)."""

    needs = Needs(streams=2, grid=True)
    steps: int = Field(2, ge=1, le=8, description="steps of the recursion, each with weights of its own")


class MfnSettings(FusionSettings):
    """Memory fusion network (Zadeh et al. 2018)."""

    needs = Needs(streams=2, grid=True)
    memory: int = Field(128, ge=1, le=4096, description="dimension of the memory")


class DialogGruSettings(FusionSettings):
    """A GRU over the turns of a dialog."""

    needs = Needs(dialogs=True)


class M2fnetSettings(FusionSettings):
    """M2FNet (Chudasama et al. 2022)."""

    needs = Needs(streams=2, dialogs=True)
    anchor: str | None = Field(
        None, description="the stream whose turns are mixed (none = text, else audio, else the first)"
    )
    layers: Layers = Field(1, description="encoder layers of each stream")
    fusion_layers: Layers = Field(1, description="fusion attention layers")
    heads: Heads = Field(4, description="attention heads")
    triplet: Weight = Field(0.0, description="weight of the adaptive-margin triplet loss, corrected")


class HfgcnSettings(FusionSettings):
    """Hierarchical graphs, in the manner of Tang et al. 2021."""

    needs = Needs(dialogs=True)
    window: int = Field(
        10, ge=1, le=1000, description="turns before (with context both also after) a turn that it reads"
    )
    recurrent: bool = Field(True, description="a GRU over the turns before the graph")


class LmamDialogSettings(FusionSettings):
    """Low-rank matching attention (Shou et al. 2025), over the turns of a dialog."""

    needs = Needs(dialogs=True)
    rank: int = Field(16, ge=1, le=1024, description="rank of the matching matrix")


FUSIONS: Mapping[str, type[FusionSettings]] = {
    "cross-attention": CrossAttentionSettings,
    "concat": ConcatSettings,
    "attention": AttentionSettings,
    "tfn": TfnSettings,
    "lmf": LmfSettings,
    "fbp": FbpSettings,
    "misa": MisaSettings,
    "mmim": MmimSettings,
    "textgate": TextGateSettings,
    "lmam": LmamSettings,
    "gban": GbanSettings,
    "mult": MultSettings,
    "mpt": MptSettings,
    "cfn": CfnSettings,
    "aimdit": AimditSettings,
    "jmt": JmtSettings,
    "jca": JcaSettings,
    "mfn": MfnSettings,
    "dialog-gru": DialogGruSettings,
    "m2fnet": M2fnetSettings,
    "hfgcn": HfgcnSettings,
    "lmam-dialog": LmamDialogSettings,
}
"""Every system by its name in `train.fusion`."""

DIALOG_HEADS = tuple(name for name, options in FUSIONS.items() if options.needs.dialogs)
"""The systems that read the turns of a whole dialog."""


def fusion_options(name: str, values: Mapping[str, Any]) -> FusionSettings:
    """The checked options of a system. Raises ValueError in one line, for an unknown name with the nearest one."""
    if name not in FUSIONS:
        near = difflib.get_close_matches(name, FUSIONS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? Expected one of" if near else "expected one of"
        raise ValueError(f"train.fusion: there is no fusion {name!r}; {hint} {', '.join(FUSIONS)}")
    options = FUSIONS[name]
    known = ", ".join(options.model_fields) or "none"
    try:
        return options.model_validate(dict(values))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            raise ValueError(f"train.fusion_options: {name} has no option {key!r}; its options are {known}") from None
        message = detail["msg"]
        raise ValueError(
            f"train.fusion_options.{key}: {message[:1].lower()}{message[1:]}, got {quoted(detail['input'])}"
        ) from None
