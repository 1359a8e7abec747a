"""The modules that take long to import, by stream; this one imports none of them."""

from collections.abc import Iterable

from ...shared.config.settings import FaceSettings
from ..face.config import is_inception_resnet, is_vision_model
from .stream_spec import StreamSpec


def libraries_of(specs: Iterable[StreamSpec]) -> list[str]:
    """Modules outside of foal that the encoders of some streams import and that take long to import, sorted."""
    names = set()
    for spec in specs:
        settings, weights = spec.settings, spec.weights
        if isinstance(settings, FaceSettings):
            if settings.region == "face" or is_inception_resnet(weights):
                names.add("facenet_pytorch")
            if is_vision_model(weights):
                names.add("transformers.modeling_utils")
        elif not weights.opensmile:
            names.add("transformers.modeling_utils")
    return sorted(names)
