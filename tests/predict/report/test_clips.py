import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from foal.predict.report.clips import THUMBNAIL, image_uri, read_media, sound_uri, wave_extremes
from foal.shared.config.settings import Settings
from foal.shared.store.feature_store import FeatureStore
from foal.shared.timing import SAMPLE_RATE


def content(uri: str) -> io.BytesIO:
    return io.BytesIO(base64.b64decode(uri.partition(";base64,")[2]))


def test_sound_survives_as_mp3_of_a_few_kilobytes_per_second() -> None:
    samples = 0.5 * np.sin(np.arange(SAMPLE_RATE) * 2 * np.pi * 220 / SAMPLE_RATE).astype(np.float32)
    uri = sound_uri(samples)
    decoded, rate_hz = soundfile.read(content(uri))
    assert rate_hz == SAMPLE_RATE
    assert abs(len(decoded) - SAMPLE_RATE) < 0.1 * SAMPLE_RATE
    assert np.abs(np.fft.rfft(decoded)).argmax() * rate_hz / len(decoded) == pytest.approx(220, abs=2)
    assert len(uri) < 20_000


def test_pictures_are_small_jpegs() -> None:
    picture = Image.new("RGB", (800, 400), "red")
    with Image.open(content(image_uri(picture))) as shown:
        assert (shown.format, shown.size) == ("JPEG", (THUMBNAIL, THUMBNAIL // 2))
    assert picture.size == (800, 400)


def test_the_waveform_has_the_extremes_of_each_section() -> None:
    samples = np.zeros(1600, np.float32)
    samples[[5, 1599]] = (-0.5, 0.75)
    extremes = wave_extremes(samples)
    assert len(extremes) == 160
    assert (extremes[0], extremes[-1]) == ((-0.5, 0.0), (0.0, 0.75))
    assert wave_extremes(np.zeros(0, np.float32)) == [(0.0, 0.0)]


@pytest.fixture
def store(settings: Settings) -> FeatureStore:
    return FeatureStore(settings.index)


def test_embedded_linked_and_no_media(store: FeatureStore, synthetic_corpus: Path, tmp_path: Path) -> None:
    name, page = store.utterances[0].id, tmp_path / "deep" / "report.html"
    embedded, linked, without = (
        read_media(store, [name], root=synthetic_corpus, page=page, mode=mode)[name]
        for mode in ("embed", "link", "none")
    )
    assert embedded.sound.startswith("data:audio/mpeg;base64,")
    assert embedded.image.startswith("data:image/jpeg;base64,")
    assert embedded.seconds == pytest.approx(store.utterances[0].seconds, abs=0.2)
    file, _, fragment = linked.sound.partition("#")
    assert (page.parent / ".." / ".." / tmp_path.name / "deep" / file).resolve() == (
        synthetic_corpus / store.utterances[0].audio
    ).resolve() or (page.absolute().parent / file).resolve() == (synthetic_corpus / store.utterances[0].audio).resolve()
    assert fragment == ""  # a file per utterance
    assert linked.image
    assert (without.sound, without.image, without.wave) == ("", "", ())


def test_missing_and_damaged_media_are_noted(store: FeatureStore, tmp_path: Path) -> None:
    name = store.utterances[0].id
    media = read_media(store, [name], root=tmp_path, page=tmp_path / "r.html", mode="embed")[name]
    assert "is not in" in media.note
    file = tmp_path / store.utterances[0].audio
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no sound")
    media = read_media(store, [name], root=tmp_path, page=tmp_path / "r.html", mode="embed")[name]
    assert store.utterances[0].audio in media.note
    assert (media.sound, media.image) == ("", "")


def test_media_outside_of_the_root_are_read_only_where_allowed(
    store: FeatureStore, synthetic_corpus: Path, tmp_path: Path
) -> None:
    name, root = store.utterances[0].id, tmp_path / "root"
    root.mkdir()
    (root / "Session1").symlink_to(synthetic_corpus / "Session1")
    options: dict[str, Any] = {"root": root, "page": tmp_path / "r.html", "mode": "embed"}
    refused = read_media(store, [name], **options)[name]
    assert (refused.sound, refused.note) == ("", "its media are outside of the corpus root")
    assert read_media(store, [name], **options, allow_outside=True)[name].sound
