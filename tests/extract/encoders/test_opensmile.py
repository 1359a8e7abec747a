"""Names of openSMILE's feature sets, and the message where the package is missing."""

from importlib.metadata import PackageNotFoundError

import pytest

from foal.extract.encoders import opensmile as names
from foal.extract.encoders.weights import find_audio_weights
from foal.shared.errors import EncoderError


@pytest.mark.parametrize("name", ["opensmile:", "opensmile:eGeMAPS", "opensmile:eGeMAPSv02/means"])
def test_an_unknown_set_is_refused(name: str) -> None:
    with pytest.raises(EncoderError, match=r"unknown encoder.*opensmile:eGeMAPSv02, opensmile:eGeMAPSv02/func"):
        find_audio_weights(name, "main", 0)


def test_a_missing_package_is_named_with_its_licence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(names, "version", missing)
    with pytest.raises(EncoderError, match=r"pip install opensmile.*audEERING Research License.*not for commercial"):
        find_audio_weights("opensmile:eGeMAPSv02", "main", 0)
