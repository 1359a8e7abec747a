"""openSMILE as an audio encoder: equal to the package's own output; skipped where it is not installed."""

import importlib.util
from typing import Any

import numpy as np
import pytest

from foal.extract.audio.smile import SmileEncoder
from foal.extract.encoders.weights import find_audio_weights
from foal.extract.schedule.stream_spec import StreamSpec, build_stream_spec
from foal.shared.config.settings import ExtractSettings
from foal.shared.errors import EncoderError
from foal.tests.extract.audio.waveforms import wave

needs_opensmile = pytest.mark.skipif(importlib.util.find_spec("opensmile") is None, reason="opensmile is not installed")
SETS = {"eGeMAPSv02": (25, 88), "ComParE_2016": (65, 6373)}


@needs_opensmile
@pytest.mark.parametrize("feature_set", SETS)
def test_features_equal_those_of_the_package(feature_set: str) -> None:
    import opensmile

    samples = wave(1.234)
    for name, level, width in zip(("", "/functionals"), ("lld", "func"), SETS[feature_set], strict=True):
        encoder = SmileEncoder(find_audio_weights(f"opensmile:{feature_set}{name}", "main", 0))
        (values,) = encoder.encode([samples])
        expected = opensmile.Smile(opensmile.FeatureSet[feature_set], level).process_signal(samples, 16000)
        np.testing.assert_array_equal(values, expected.to_numpy())
        assert encoder.frame_shape == values.shape[1:] == (width,)


@needs_opensmile
def test_descriptors_are_where_the_sound_is() -> None:
    """A click at 0.75 s is in the rows around that time; functionals describe the middle of the utterance."""
    encoder = SmileEncoder(find_audio_weights("opensmile:eGeMAPSv02", "main", 0))
    samples = wave(1.5) * np.float32(1e-3)
    samples[12000:12008] += 0.5
    loudness = encoder.encode([samples])[0][:, 0]
    assert encoder.origin(len(samples)) + np.argmax(loudness) / encoder.rate_hz == pytest.approx(0.75, abs=0.0101)
    functionals = SmileEncoder(find_audio_weights("opensmile:eGeMAPSv02/functionals", "main", 0))
    assert functionals.origin(len(samples)) == 0.75


@needs_opensmile
def test_clipped_and_very_short_audio_is_read() -> None:
    """Without a limit, the package turns a sample of 1.0 into -1.0; for less than 60 ms it returns NaN."""
    encoder = SmileEncoder(find_audio_weights("opensmile:eGeMAPSv02", "main", 0))
    tone = np.sin(np.arange(16000) * 0.1).astype(np.float32)
    loud, limited = encoder.encode([tone * 1.2, (tone * 1.2).clip(-1, 32767 / 32768)])
    np.testing.assert_array_equal(loud, limited)
    (short,) = encoder.encode([wave(0.01)])
    assert len(short) == 2
    assert np.isfinite(short).all()


@needs_opensmile
def test_the_settings_of_networks_do_not_concern_opensmile() -> None:
    def spec(**settings: Any) -> StreamSpec:
        audio = {"encoder": "opensmile:eGeMAPSv02", **settings.pop("audio", {})}
        return build_stream_spec(ExtractSettings.model_validate({"audio": audio, **settings}), "audio")

    plain = spec()
    assert (plain.header.rate_hz, plain.dtype, plain.header.random_weights) == (100.0, "float32", False)
    same = spec(audio={"max_seconds": 9}, precision="bf16", dtype="float32", seed=4)
    assert same.config_hash == plain.config_hash
    other = spec(audio={"encoder": "opensmile:eGeMAPSv02/functionals"})
    assert other.config_hash != plain.config_hash
    assert other.header.rate_hz == 1.0
    with pytest.raises(EncoderError, match=r"has no layers: expected extract.audio.layers: last, got all"):
        spec(audio={"layers": "all"})
