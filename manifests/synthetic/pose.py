"""The poses of a face: what each emotion does to brows, eyes and mouth, and their blend at any mood."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Changes to a face at rest; lengths are in face units (see FaceCanvas), shares are 0 at rest."""

    inner_brow: float = 0.0  # lift of the inner end of a brow
    outer_brow: float = 0.0  # lift of the outer end
    arch: float = 0.0  # additional lift of its middle
    together: float = 0.0  # shift of the inner ends to the middle of the face
    upper_lid: float = 0.0  # share by which it is opened wider (above 0) or droops
    lid_tilt: float = 0.0  # share by which it is higher at the outer than at the inner end
    lower_lid: float = 0.0  # share by which it is pushed up
    gaze: float = 0.0  # shift of the iris downwards
    cheek: float = 0.0  # share by which cheeks are raised
    frown: float = 0.0  # depth of the folds between the brows
    corners: float = 0.0  # of the mouth, -1 (down) to 1 (up, a smile)
    stretch: float = 0.0  # share by which the mouth is wider
    pressed: float = 0.0  # share by which lips are thinner
    square: float = 0.0  # 0: an opening mouth is round, 1: square
    opening: float = 0.0  # share by which it opens wider


NEUTRAL = Pose()
HAPPY = Pose(
    inner_brow=0.015,
    outer_brow=0.035,
    arch=0.035,
    upper_lid=0.22,
    lower_lid=0.45,
    cheek=1.0,
    corners=1.0,
    stretch=0.16,
    opening=0.1,
)
SAD = Pose(
    inner_brow=0.085,
    outer_brow=-0.075,
    arch=-0.035,
    together=0.03,
    upper_lid=-0.38,
    lid_tilt=-0.30,
    gaze=0.022,
    corners=-0.85,
    stretch=-0.10,
    opening=-0.3,
)
ANGRY = Pose(
    inner_brow=-0.115,
    outer_brow=0.055,
    arch=-0.025,
    together=0.065,
    upper_lid=0.02,
    lid_tilt=0.42,
    lower_lid=0.40,
    frown=1.0,
    corners=-0.35,
    stretch=0.04,
    pressed=0.6,
    square=1.0,
    opening=0.1,
)


def blend(valence: float, arousal: float) -> Pose:
    """The pose of a mood, bilinear between the four emotions at its corners.

    Args:
        valence: -1 to 1.
        arousal: -1 to 1; a face at rest has valence 1 and arousal -1, as the emotion neutral.
    """
    pleased, aroused = (1 + valence) / 2, (1 + arousal) / 2
    corners = (
        (pleased * (1 - aroused), NEUTRAL),
        (pleased * aroused, HAPPY),
        ((1 - pleased) * (1 - aroused), SAD),
        ((1 - pleased) * aroused, ANGRY),
    )
    return Pose(
        **{field.name: sum(share * getattr(pose, field.name) for share, pose in corners) for field in fields(Pose)}
    )
