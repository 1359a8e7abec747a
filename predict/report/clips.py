"""Media of single utterances for a page: the face as JPEG, the waveform, and the sound as MP3 or as a link."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from ...extract.inspect.contact_sheet import face_stream, preview_request
from ...extract.inspect.preview import group_by_video, previews
from ...extract.media.waveform import NoAudioTrackError, Waveform, is_utterance_clip
from ...shared.config.settings import modality_of
from ...shared.errors import FoalError
from ...shared.files.confinement import Inside
from ...shared.files.unicode_names import locate, spelled_on_disk
from ...shared.store.feature_store import FeatureStore
from ...shared.timing import SAMPLE_RATE, Seconds
from ...shared.utterance import Utterance

EMBED, LINK, NONE = "embed", "link", "none"
MODES = (EMBED, LINK, NONE)
MAX_SECONDS: Seconds = 30.0
"""Longer clips are linked, not embedded."""
MAX_BYTES = 4_000_000
"""Of embedded sound in a page, base64 included; further clips are linked."""
THUMBNAIL = 128
"""Side of the picture in pixels, twice what the page shows."""
WAVE_COLUMNS = 160


@dataclass(frozen=True, kw_only=True)
class Media:
    """What could be read of an utterance; an empty text or None where there is nothing.

    Attributes:
        utterance: the row of the manifest.
        image: data URI of the face, or of the frame where no face is stored.
        wave: minimum and maximum of each column of the waveform, full scale 1.
        seconds: duration of the sound.
        sound: data URI, or URL relative to the page.
        note: why something is missing.
    """

    utterance: Utterance
    image: str = ""
    wave: Sequence[tuple[float, float]] = ()
    seconds: Seconds | None = None
    sound: str = ""
    note: str = ""


def read_media(
    store: FeatureStore, ids: Sequence[str], *, root: Path, page: Path, mode: str, allow_outside: bool = False
) -> dict[str, Media]:
    """Read pictures and sound of some utterances; what cannot be read is noted, and no error.

    Args:
        store: the feats.h5 with the utterances and the boxes of their faces.
        ids: ids of utterances of the store.
        root: the corpus root.
        page: the page to be written; links are relative to its folder.
        mode: "embed" puts sound into the page (links long clips), "link" links it, "none" reads no media.
        allow_outside: read media whose path leads out of the root.
    """
    rows = dict(zip(ids, store.rows(ids), strict=True))
    media = {name: Media(utterance=store.utterances[row]) for name, row in rows.items()}
    if mode == NONE:
        return media
    inside, left = Inside(root), MAX_BYTES
    allowed = {}
    for name, row in rows.items():
        utterance = store.utterances[row]
        paths = [path for path in (utterance.audio, utterance.video) if path]
        if not allow_outside and any(inside.escape_reason(spelled_on_disk(root, path)) for path in paths):
            media[name] = replace(media[name], note="its media are outside of the corpus root")
            continue
        allowed[name] = row
        media[name] = _with_sound(media[name], root, page, mode, left)
        left -= len(media[name].sound) if media[name].sound.startswith("data:") else 0
    for name, image in _pictures(store, allowed, root).items():
        media[name] = replace(media[name], image=image)
    return media


def _with_sound(media: Media, root: Path, page: Path, mode: str, left: int) -> Media:
    utterance = media.utterance
    path = utterance.audio or utterance.video
    if not path:
        return replace(media, note="no sound in the manifest")
    file = locate(root, path)
    if not file.is_file():
        return replace(media, note=f"{path} is not in {root}")
    try:
        waveform = Waveform(file)
        whole = is_utterance_clip(waveform.declared or waveform.seconds, utterance)
        samples = waveform.cut(utterance.start, utterance.end, whole=whole)
    except NoAudioTrackError:
        return replace(media, note="no audio track")
    except (FoalError, OSError) as error:
        return replace(media, note=f"{path}: {error}")
    seconds = len(samples) / SAMPLE_RATE
    media = replace(media, wave=wave_extremes(samples), seconds=seconds)
    if mode == EMBED and seconds <= MAX_SECONDS and len(uri := sound_uri(samples)) <= left:
        return replace(media, sound=uri)
    url = quote(os.path.relpath(file, page.absolute().parent))
    if not whole and (utterance.start is not None or utterance.end is not None):
        url += f"#t={utterance.start or 0.0:g}" + ("" if utterance.end is None else f",{utterance.end:g}")
    return replace(media, sound=url)


def _pictures(store: FeatureStore, rows: Mapping[str, int], root: Path) -> dict[str, str]:
    """Data URIs of faces by id, from the first face stream; without one, and for what cannot be decoded, none."""
    if not any(modality_of(name) == "face" for name in store.streams):
        return {}
    try:
        stream = face_stream(store, None)
        requests = [preview_request(store, stream, row) for row in rows.values()]
    except FoalError:
        return {}
    images = {}
    for video, members in group_by_video(requests).items():
        for name, preview in previews(root, video, members, stream).items():
            picture = preview.face or preview.picture
            if picture is not None:
                images[name] = image_uri(picture)
    return images


def image_uri(picture: Image.Image) -> str:
    """A JPEG of at most THUMBNAIL pixels per side as data URI."""
    small, file = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    small.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def sound_uri(samples: NDArray[np.float32]) -> str:
    """Samples (samples,) at 16 kHz as data URI: MP3, which every browser plays; FLAC if libsndfile lacks it."""
    file = io.BytesIO()
    kind = "MP3" if "MP3" in soundfile.available_formats() else "FLAC"
    soundfile.write(file, np.clip(samples, -1, 1), SAMPLE_RATE, format=kind)
    name = "audio/mpeg" if kind == "MP3" else "audio/flac"
    return f"data:{name};base64,{base64.b64encode(file.getvalue()).decode()}"


def wave_extremes(samples: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Minimum and maximum of WAVE_COLUMNS equal sections of samples (samples,)."""
    sections = np.array_split(samples, min(WAVE_COLUMNS, max(len(samples), 1)))
    return [(float(section.min(initial=0)), float(section.max(initial=0))) for section in sections]
