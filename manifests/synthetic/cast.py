"""The cast of the synthetic corpus: ten fixed actors, each with a face and a voice."""

from dataclasses import dataclass
from typing import Literal

RGB = tuple[int, int, int]
Gender = Literal["F", "M"]
HairStyle = Literal["short", "side", "long", "bob", "bun", "curly", "curls"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceDesign:
    """The looks of an actor. Lengths are fractions of `half_height`, so that all faces have the same expressions."""

    half_height: float  # of the face oval, in pixels of the video
    width: float  # half width of the oval
    eye_gap: float  # centre of an eye from the middle of the face
    eye_size: float  # half width of an eye
    brow: float  # thickness of a brow
    nose: float  # half width of the nose
    mouth: float  # half width of the mouth at rest
    skin: RGB
    hair: RGB
    style: HairStyle
    iris: RGB
    lips: RGB
    clothes: RGB
    wall: RGB
    glasses: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """The voice of an actor when calm."""

    pitch_hz: float
    formants: float  # factor of all resonances, the inverse length of the vocal tract
    breath: float  # share of aspiration noise in a vowel, 0 to 1
    tempo: float  # syllables per second


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """One of the ten speakers; IEMOCAP names a speaker by session and gender."""

    session: int
    gender: Gender
    face: FaceDesign
    voice: Voice


PALE: RGB = (238, 202, 178)
ROSY: RGB = (230, 184, 160)
OLIVE: RGB = (208, 164, 128)
TAN: RGB = (190, 140, 104)
BROWN: RGB = (150, 104, 76)
DARK: RGB = (118, 80, 60)

BLACK_HAIR: RGB = (38, 32, 34)
BROWN_HAIR: RGB = (84, 54, 36)
CHESTNUT: RGB = (112, 62, 38)
BLOND: RGB = (202, 164, 96)
RED: RGB = (158, 74, 38)
GREY: RGB = (132, 130, 128)

# fmt: off
CAST: tuple[Actor, ...] = (
    Actor(session=1, gender="F", voice=Voice(pitch_hz=196, formants=1.15, breath=0.10, tempo=4.4), face=FaceDesign(
        half_height=57, width=0.77, eye_gap=0.34, eye_size=0.150, brow=0.050, nose=0.13, mouth=0.31, skin=PALE,
        hair=BROWN_HAIR, style="long", iris=(70, 104, 82), lips=(188, 84, 88), clothes=(132, 44, 62),
        wall=(122, 132, 140))),
    Actor(session=1, gender="M", voice=Voice(pitch_hz=112, formants=0.98, breath=0.06, tempo=4.1), face=FaceDesign(
        half_height=60, width=0.76, eye_gap=0.34, eye_size=0.138, brow=0.078, nose=0.16, mouth=0.32, skin=OLIVE,
        hair=BLACK_HAIR, style="short", iris=(74, 50, 34), lips=(164, 96, 84), clothes=(52, 74, 112),
        wall=(108, 118, 128))),
    Actor(session=2, gender="F", voice=Voice(pitch_hz=224, formants=1.20, breath=0.16, tempo=4.7), face=FaceDesign(
        half_height=55, width=0.80, eye_gap=0.36, eye_size=0.156, brow=0.056, nose=0.14, mouth=0.32, skin=TAN,
        hair=BLACK_HAIR, style="bun", iris=(64, 42, 30), lips=(168, 70, 72), clothes=(44, 108, 104),
        wall=(150, 138, 120))),
    Actor(session=2, gender="M", voice=Voice(pitch_hz=98, formants=0.94, breath=0.08, tempo=3.8), face=FaceDesign(
        half_height=59, width=0.79, eye_gap=0.35, eye_size=0.140, brow=0.070, nose=0.17, mouth=0.34, skin=ROSY,
        hair=GREY, style="side", iris=(82, 108, 132), lips=(178, 102, 92), clothes=(96, 92, 84),
        wall=(136, 126, 112), glasses=True)),
    Actor(session=3, gender="F", voice=Voice(pitch_hz=184, formants=1.12, breath=0.08, tempo=4.2), face=FaceDesign(
        half_height=57, width=0.78, eye_gap=0.35, eye_size=0.152, brow=0.052, nose=0.15, mouth=0.33, skin=BROWN,
        hair=BLACK_HAIR, style="curls", iris=(52, 34, 26), lips=(142, 62, 66), clothes=(196, 148, 60),
        wall=(112, 130, 118))),
    Actor(session=3, gender="M", voice=Voice(pitch_hz=126, formants=1.00, breath=0.12, tempo=4.6), face=FaceDesign(
        half_height=58, width=0.75, eye_gap=0.33, eye_size=0.142, brow=0.066, nose=0.15, mouth=0.31, skin=PALE,
        hair=RED, style="curly", iris=(72, 112, 128), lips=(190, 110, 100), clothes=(58, 92, 66),
        wall=(126, 136, 126))),
    Actor(session=4, gender="F", voice=Voice(pitch_hz=208, formants=1.17, breath=0.20, tempo=4.0), face=FaceDesign(
        half_height=56, width=0.79, eye_gap=0.36, eye_size=0.158, brow=0.048, nose=0.13, mouth=0.31, skin=ROSY,
        hair=BLOND, style="bob", iris=(86, 120, 150), lips=(200, 88, 96), clothes=(76, 62, 118),
        wall=(140, 132, 146))),
    Actor(session=4, gender="M", voice=Voice(pitch_hz=106, formants=0.96, breath=0.07, tempo=4.3), face=FaceDesign(
        half_height=60, width=0.78, eye_gap=0.35, eye_size=0.138, brow=0.080, nose=0.18, mouth=0.34, skin=DARK,
        hair=BLACK_HAIR, style="short", iris=(46, 30, 24), lips=(128, 68, 66), clothes=(178, 182, 188),
        wall=(128, 120, 132))),
    Actor(session=5, gender="F", voice=Voice(pitch_hz=236, formants=1.18, breath=0.12, tempo=4.5), face=FaceDesign(
        half_height=56, width=0.76, eye_gap=0.34, eye_size=0.150, brow=0.054, nose=0.13, mouth=0.32, skin=OLIVE,
        hair=CHESTNUT, style="long", iris=(96, 74, 44), lips=(182, 76, 80), clothes=(60, 64, 72),
        wall=(148, 144, 132))),
    Actor(session=5, gender="M", voice=Voice(pitch_hz=138, formants=1.02, breath=0.10, tempo=4.0), face=FaceDesign(
        half_height=58, width=0.78, eye_gap=0.35, eye_size=0.144, brow=0.068, nose=0.16, mouth=0.33, skin=TAN,
        hair=BROWN_HAIR, style="side", iris=(88, 62, 40), lips=(170, 96, 84), clothes=(118, 60, 44),
        wall=(132, 138, 142))),
)
# fmt: on


def actor(session: int, gender: Gender) -> Actor:
    """The actor of this gender in a session (1 to 5)."""
    return CAST[2 * (session - 1) + "FM".index(gender)]
