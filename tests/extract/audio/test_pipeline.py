"""From audio files to entries: truncated dialogs, and times outside the recording."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from foal.extract.audio.pipeline import decode_audio
from foal.extract.media.media_group import MediaGroup
from foal.shared.errors import MediaError
from foal.shared.store.shard import Entry
from foal.shared.utterance import Utterance


def truncate(path: Path, fraction: float) -> Path:
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * fraction)])
    return path


def decode(path: Path, **segment: Any) -> tuple[float | None, str | int]:
    utterance = Utterance(id="u", corpus="c", audio=path.name, **segment)
    group = MediaGroup(modality="audio", path=path, fingerprint="", utterances=[utterance])
    ((_, _, clip),) = decode_audio(group, (4,))
    assert not isinstance(clip, Entry)
    return (None, str(clip)) if isinstance(clip, MediaError) else (clip.missing and clip.missing[1], len(clip.wave))


def test_a_truncated_dialog_does_not_count_as_an_utterance_clip(tmp_path: Path) -> None:
    """A dialog of 9 s truncated to 2.5 s, and an utterance clip of 2.5 s."""
    soundfile.write(tmp_path / "d.wav", np.random.default_rng(1).normal(size=9 * 16000) / 9, 16000)
    truncate(tmp_path / "d.wav", 2.5 / 9)
    assert "truncated: it declares 9.00 s" in str(decode(tmp_path / "d.wav", start=6.0, end=8.5)[1])
    soundfile.write(tmp_path / "s.wav", np.zeros(40000), 16000)
    assert decode(tmp_path / "s.wav", start=6.0, end=8.5) == (0.0, 40000)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1e300), (1e300, 1e301), (0.0, 3e9)])
def test_times_outside_the_recording_fail_only_their_utterance(tmp_path: Path, start: float, end: float) -> None:
    soundfile.write(tmp_path / "s.wav", np.zeros(16000), 16000)
    assert "correct it in the manifest" in str(decode(tmp_path / "s.wav", start=start, end=end)[1])
