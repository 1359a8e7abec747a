"""Voice activity detection."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from foal.predict.segments import speech
from foal.predict.segments.speech import SileroVad, load_vad, speech_probabilities, speech_segments
from foal.shared.errors import UsageError

PACKAGE = find_spec("silero_vad")
needs_weights = pytest.mark.skipif(PACKAGE is None, reason="silero-vad is not installed (extra vad)")


@needs_weights
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_network_computes_what_the_published_one_computes() -> None:
    """With the weights of the published TorchScript file; those of the safetensors file are of another release."""
    assert PACKAGE is not None
    assert PACKAGE.origin is not None
    published = torch.jit.load(Path(PACKAGE.origin).parent / "data" / "silero_vad.jit", map_location="cpu")
    weights = published.state_dict()
    names = {
        "stft_conv.weight": "_model.stft.forward_basis_buffer",
        **{
            f"conv{n + 1}.{part}": f"_model.encoder.{n}.reparam_conv.{part}"
            for n in range(4)
            for part in ("weight", "bias")
        },
        **{
            f"lstm_cell.{part}": f"_model.decoder.rnn.{part}"
            for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        },
        **{f"final_conv.{part}": f"_model.decoder.decoder.2.{part}" for part in ("weight", "bias")},
    }
    model = SileroVad()
    model.load_state_dict({own: weights[name] for own, name in names.items()})
    random = torch.Generator().manual_seed(0)
    wave = torch.randn(512 * 20 + 100, generator=random) * torch.linspace(0, 0.5, 512 * 20 + 100)
    with torch.inference_mode():
        published.reset_states()
        expected = published.audio_forward(wave[None], 16_000)[0]
        assert torch.allclose(model(wave), expected, atol=1e-5)


@needs_weights
def test_silence_and_noise_are_no_speech() -> None:
    wave = np.zeros(32_000, np.float32)
    assert speech_probabilities(wave).shape == (63,)
    assert speech_probabilities(wave).max() < 0.5
    assert len(speech_probabilities(wave[:0])) == 0


@needs_weights
def test_the_threads_of_the_process_stay() -> None:
    before = torch.get_num_threads()
    load_vad()
    assert torch.get_num_threads() == before


def test_without_the_package_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "PACKAGE", "foal_no_such_package")
    load_vad.cache_clear()
    with pytest.raises(UsageError, match="pip install silero-vad"):
        load_vad()
    load_vad.cache_clear()


def steps(*stretches: tuple[float, float]) -> np.ndarray:
    """Probabilities of three seconds with speech in some stretches."""
    times = (np.arange(94) + 0.5) * 512 / 16_000
    return np.array([0.9 if any(start <= time < end for start, end in stretches) else 0.1 for time in times])


def test_stretches_are_padded_and_short_pauses_are_bridged() -> None:
    ((start, end),) = speech_segments(steps((0.5, 1.0), (1.2, 2.0)), 3.0)
    assert start == pytest.approx(0.4, abs=0.05)
    assert end == pytest.approx(2.1, abs=0.05)


def test_long_pauses_separate_and_clicks_are_dropped() -> None:
    first, second = speech_segments(steps((0.2, 0.8), (1.3, 1.4), (2.0, 2.9)), 3.0)
    assert first[1] < 1.0
    assert second[0] > 1.8


def test_speech_until_the_end_ends_with_the_recording() -> None:
    assert speech_segments(steps((2.0, 9.0)), 2.99)[-1][1] == 2.99
    assert speech_segments(steps(), 3.0) == []


@given(st.lists(st.floats(0, 1), max_size=200))
def test_segments_are_ordered_and_inside(probabilities: list[float]) -> None:
    seconds = len(probabilities) * 512 / 16_000
    edges = [time for segment in speech_segments(np.array(probabilities), seconds) for time in segment]
    assert edges == sorted(edges)
    assert all(0 <= time <= seconds for time in edges)
