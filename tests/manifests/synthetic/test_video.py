"""The videos of the synthetic corpus."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from foal.manifests.corpora import iemocap
from foal.manifests.synthetic.cast import CAST, Gender, actor
from foal.manifests.synthetic.portrait import HEIGHT, WIDTH, Portrait
from foal.manifests.synthetic.script import GENDERS, plan_dialogs
from foal.manifests.synthetic.video import RATE, TOP, render_video
from foal.manifests.synthetic.voice import synthesize_voice


def test_videos_are_mpeg4_and_longer_than_the_speech(synthetic_corpus: Path) -> None:
    ends: dict[str, float] = {}
    for utterance in iemocap.build(synthetic_corpus, iemocap.LABELS).utterances:
        assert utterance.end is not None
        ends[utterance.id] = utterance.end
    with_b_frames = []
    for path in sorted(synthetic_corpus.rglob("*.avi")):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert (stream.width, stream.height, stream.codec_context.name) == (720, 480, "mpeg4")
            assert stream.average_rate == RATE
            frames = list(container.decode(stream))
            assert len(frames) == stream.frames
        last = max(end for name, end in ends.items() if name.startswith(path.stem + "_"))
        assert last < len(frames) / RATE < last + 2
        with_b_frames.append(any(frame.pict_type == av.video.frame.PictureType.B for frame in frames))
        image = frames[len(frames) // 2].to_ndarray(format="rgb24")
        assert image[: TOP - 4].max() < 12  # the bars of the letterbox
        assert image[TOP + HEIGHT + 4 :].max() < 12
        sides: tuple[Gender, Gender] = ("F", "M") if path.stem[5] == "F" else ("M", "F")
        for half, gender in zip((image[:, :WIDTH], image[:, WIDTH:]), sides, strict=True):
            wall = half[TOP + HEIGHT // 2, 20:60].mean(axis=0)
            expected = actor(int(path.stem[4]), gender)
            walls = [np.abs(wall - member.face.wall).sum() for member in CAST if member.session == expected.session]
            assert np.abs(wall - expected.face.wall).sum() == min(walls)
    assert any(with_b_frames)
    assert not all(with_b_frames)


def decode_frames(path: Path) -> NDArray[np.int16]:
    """All frames without the letterbox, in greyscale, of shape (n, 256, 720)."""
    with av.open(str(path)) as container:
        grey = [frame.to_ndarray(format="gray")[TOP : TOP + HEIGHT] for frame in container.decode(video=0)]
    return np.stack(grey).astype(np.int16)


def test_the_face_of_the_listener_is_independent_of_the_speaker(tmp_path: Path) -> None:
    dialog = next(dialog for dialog in plan_dialogs(20, 2024) if not dialog.b_frames)
    portraits = {gender: Portrait(actor(dialog.session, gender).face) for gender in GENDERS}
    videos = []
    for mood in (-1.0, 1.0):  # what the left actor shows: sadness or happiness
        turns = tuple(
            replace(turn, face_valence=mood, face_arousal=mood, voice_arousal=mood)
            if turn.speaker == dialog.left_speaker
            else turn
            for turn in dialog.turns
        )
        voices = [
            synthesize_voice(
                actor(dialog.session, turn.speaker).voice,
                turn.voice_arousal,
                turn.voice_valence,
                round((turn.end - turn.start) * 16_000),
                np.random.default_rng(number),
            )
            for number, turn in enumerate(turns)
        ]
        path = tmp_path / f"{mood}.avi"
        render_video(path, replace(dialog, turns=turns), voices, portraits)
        videos.append(decode_frames(path))
    changed = np.abs(videos[0] - videos[1])
    speaker, listener = changed[:, :, :WIDTH], changed[:, :, WIDTH + 16 :]  # without the macroblock at the border
    assert speaker.max() > 60
    assert listener.max() <= 8  # coding noise
    # Between utterances both actors are at rest, so the speaker's half is unchanged, too.
    is_speech = np.zeros(len(changed), bool)
    seconds = np.arange(len(changed)) / float(RATE)
    for turn in dialog.turns:
        is_speech |= (seconds > turn.start - 0.04) & (seconds < turn.end + 0.15)
    assert speaker[~is_speech].mean() < 0.2
    assert speaker[is_speech].mean() > 2 * speaker[~is_speech].mean()
