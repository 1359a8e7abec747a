"""From one media file to the features of its utterances, each missing stream with its reason."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..shared.errors import MediaError
from ..shared.shard import Entry
from ..shared.timing import AUDIO_FRAME_SAMPLES, AUDIO_ORIGIN, SAMPLE_RATE, face_times
from ..shared.utterance import Utterance
from .audio import AudioEncoder
from .detect import Follower
from .face import BATCH, FacePath
from .picture import NoVideoTrackError, Picture, Stretch, Video, VideoDamagedError
from .sound import SAME_LENGTH, NoAudioTrackError, Sound, already_cut

Results = Iterator[tuple[Utterance, Entry | MediaError]]
"""Each utterance with its features, or with what is wrong with its stretch of the file."""


def audio_entries(path: Path | None, utterances: Sequence[Utterance], encoder: AudioEncoder) -> Results:
    """Hidden states of the utterances of one file; no path means that the manifest names none.

    Raises MediaError if the file cannot be read at all.
    """
    if path is None:
        yield from _without(utterances, "audio", encoder.width, "no audio in the manifest")
        return
    try:
        sound = Sound(path)
    except NoAudioTrackError:
        yield from _without(utterances, "audio", encoder.width, "no audio track")
        return
    for utterance in utterances:
        try:
            whole = already_cut(sound.seconds, utterance)
            wave = sound.cut(utterance.start, utterance.end, whole=whole)
        except MediaError as error:
            yield utterance, error
            continue
        values = encoder.encode(wave)
        yield (
            utterance,
            Entry(
                id=utterance.id,
                values=values,
                valid=np.ones(len(values), bool),
                origin=(utterance.start or 0.0) + AUDIO_ORIGIN,
                source=utterance.source("audio"),
                media="",
                note=_sound_note(len(wave), utterance),
            ),
        )


def _sound_note(samples: int, utterance: Utterance) -> str:
    if samples < AUDIO_FRAME_SAMPLES:
        return "shorter than 25 ms, filled up with silence"
    got, wanted = samples / SAMPLE_RATE, utterance.seconds
    if wanted is not None and abs(got - wanted) > SAME_LENGTH:
        return f"{got:.2f} s of sound for an utterance of {wanted:.2f} s"
    return ""


def face_entries(path: Path | None, utterances: Sequence[Utterance], face: FacePath) -> Results:
    """Face embeddings of the utterances of one video, which is decoded once; no path: the manifest names none.

    Raises MediaError if the video cannot be read at all.
    """
    width, fps = face.encoder.width, face.settings.fps
    if path is None:
        yield from _without(utterances, "face", width, "no video in the manifest")
        return
    try:
        video = Video(path)
    except NoVideoTrackError:
        yield from _without(utterances, "face", width, "no video track")
        return
    try:
        tracks = _tracks(video, utterances, face)
    except VideoDamagedError:
        # From the start again with the patient decoder: mixing the two would depend on how far decord ran ahead.
        tracks = _tracks(Video(path, patiently=True), utterances, face)
    for utterance, track in zip(utterances, tracks, strict=True):
        values, valid = track.finish()
        yield (
            utterance,
            Entry(
                id=utterance.id,
                values=values,
                valid=valid,
                origin=float(face_times(utterance.start or 0.0, 0.0, fps)[0]),
                source=utterance.source("face"),
                media="",
                note=track.note(),
            ),
        )


def _tracks(video: Video, utterances: Sequence[Utterance], face: FacePath) -> list["_Track"]:
    """Decode a video once and run every utterance's pictures through the detector and the encoder."""
    plans = [video.plan(Stretch(start=u.start, end=u.end, fps=face.settings.fps)) for u in utterances]
    tracks = [_Track(len(plan), face) for plan in plans]
    for number, position, picture in video.pictures(plans, [utterance.box for utterance in utterances]):
        tracks[number].push(position, picture)
    return tracks


class _Track:
    """The pictures of one utterance as they come out of the decoder, embedded a batch at a time.

    Only a batch of pictures is held: an utterance may be forty minutes long.
    """

    def __init__(self, length: int, path: FacePath) -> None:
        self._path, self._follower = path, Follower()
        self._values = np.zeros((length, path.encoder.width), np.float32)
        self._valid = np.zeros(length, bool)
        self._waiting: list[tuple[int, Picture]] = []
        self.seen = 0

    def push(self, position: int, picture: Picture) -> None:
        """Take the picture at one of the utterance's positions; positions ascend."""
        self.seen += 1
        self._waiting.append((position, picture))
        if len(self._waiting) == BATCH:
            self._flush()

    def note(self) -> str:
        """Why pictures or the whole face are missing; empty if nothing is."""
        if self.seen < len(self._valid):
            return f"only {self.seen} of {len(self._valid)} pictures could be decoded"
        return "" if self._valid.any() else "no face found"

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """All embeddings (t_v, d_v) and validity flags (t_v,)."""
        self._flush()
        return self._values, self._valid

    def _flush(self) -> None:
        if self._waiting:
            positions = [position for position, _ in self._waiting]
            pictures = [picture for _, picture in self._waiting]
            self._values[positions], self._valid[positions] = self._path.embed(pictures, self._follower)
            self._waiting = []


def _without(utterances: Sequence[Utterance], modality: str, width: int, note: str) -> Results:
    """Utterances that lack a modality: no frames, and the reason."""
    for utterance in utterances:
        yield (
            utterance,
            Entry(
                id=utterance.id,
                values=np.zeros((0, width), np.float32),
                valid=np.zeros(0, bool),
                origin=utterance.start or 0.0,
                source=utterance.source(modality),
                media="",
                note=note,
            ),
        )
