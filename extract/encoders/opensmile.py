"""openSMILE's feature sets as encoders, by name: `opensmile:SET[/functionals]`. The package is not imported here."""

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version

from ...shared.errors import EncoderError

OPENSMILE = "opensmile:"
SETS = ("eGeMAPSv02", "ComParE_2016")
_FUNCTIONALS = "/functionals"

LICENCE = "the audEERING Research License: free for research, not for commercial products"


def smile_set(encoder: str) -> tuple[str, bool]:
    """Split a name.

    Args:
        encoder: such as opensmile:eGeMAPSv02 (low-level descriptors) or opensmile:eGeMAPSv02/functionals.

    Returns:
        The feature set, and whether its functionals are meant.

    Raises:
        EncoderError: there is no such set.
    """
    name = encoder.removeprefix(OPENSMILE)
    feature_set = name.removesuffix(_FUNCTIONALS)
    if feature_set not in SETS:
        known = ", ".join(OPENSMILE + known + level for known in SETS for level in ("", _FUNCTIONALS))
        raise EncoderError(f"unknown encoder {encoder!r}: expected {known}")
    return feature_set, name != feature_set


def smile_rate(encoder: str) -> float:
    """Vectors per second: 100 low-level descriptors; 1, by convention, for functionals, one per utterance."""
    return 1.0 if smile_set(encoder)[1] else 100.0


def smile_version(encoder: str) -> str:
    """Version of the package opensmile. Raises EncoderError if it is not installed, or for an unknown set."""
    smile_set(encoder)
    try:
        return version("opensmile")
    except PackageNotFoundError:
        raise EncoderError(
            f"{encoder}: the package opensmile is not installed; run `pip install opensmile`, if its licence suits you "
            f"({LICENCE})"
        ) from None


def smile_digest(encoder: str, installed: str) -> str:
    """Hash of what defines the features: the set, and the version of the package."""
    return hashlib.sha256(json.dumps([encoder, installed]).encode()).hexdigest()
