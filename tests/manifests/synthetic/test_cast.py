"""The ten actors of the synthetic corpus."""

from foal.manifests.synthetic.cast import CAST, actor


def test_every_session_has_an_actor_of_each_gender() -> None:
    for session in range(1, 6):
        for gender in ("F", "M"):
            member = actor(session, gender)  # type: ignore[arg-type]
            assert (member.session, member.gender) == (session, gender)
    assert len(CAST) == 10


def test_all_actors_have_different_voices() -> None:
    assert len({member.voice for member in CAST}) == len(CAST)
    assert max(m.voice.pitch_hz for m in CAST if m.gender == "M") < min(
        m.voice.pitch_hz for m in CAST if m.gender == "F"
    )
