from dataclasses import replace
from pathlib import Path

import pytest

from foal.predict.report.gallery import confident_mistakes, mistakes_section
from foal.predict.report.sources import Source
from foal.shared.config.settings import CorpusSettings, Settings
from foal.shared.errors import UsageError


def row(name: str, label: str, first: float, seed: int = 0) -> dict[str, str]:
    shares = {"p_a": f"{first}", "p_b": f"{1 - first}"}
    return {"seed": f"{seed}", "id": name, "speaker": "s", "fold": "f", "label": label, "predicted": "a", **shares}


def test_mistakes_are_wrong_and_sorted_by_confidence() -> None:
    rows = [row("u0", "a", 0.9), row("u1", "b", 0.6), row("u2", "b", 0.8), row("u3", "a", 0.3)]
    assert [mistake.row["id"] for mistake in confident_mistakes(rows, 9)] == ["u2", "u3", "u1"]
    assert len(confident_mistakes(rows, 1)) == 1
    assert confident_mistakes(rows, 0) == []


def test_probabilities_are_averaged_over_seeds() -> None:
    rows = [row("u0", "b", 0.9), row("u0", "b", 0.2, seed=1), row("u1", "b", 0.6), row("u1", "b", 0.2, seed=1)]
    (mistake,) = confident_mistakes(rows, 9)
    assert mistake.row["id"] == "u0"
    assert mistake.confidence == pytest.approx(0.55)


def test_ratings_alone_have_no_mistakes() -> None:
    assert confident_mistakes([{"id": "u0", "valence": "1", "predicted_valence": "2"}], 9) == []
    assert confident_mistakes([], 9) == []


def test_clips_have_media_transcript_and_shares(source: Source, settings: Settings, tmp_path: Path) -> None:
    section = mistakes_section(source, settings, tmp_path / "r.html", mode="embed", count=3, required=True)
    assert section is not None
    assert len(section.clips) == 3
    for clip in section.clips:
        assert clip.image
        assert clip.wave
        assert clip.sound.startswith("data:")
        assert clip.transcript
        assert clip.truth != clip.predicted
        assert clip.confidence == max((share for *_, share in clip.shares), key=float)
    assert "media of the corpus" in section.text[-1]


def test_without_media_the_page_says_how_to_get_them(source: Source, settings: Settings, tmp_path: Path) -> None:
    def text(changed: Settings, mode: str = "embed") -> str:
        section = mistakes_section(source, changed, tmp_path / "r.html", mode=mode, count=3, required=False)
        assert section is not None
        assert not any(clip.sound or clip.image for clip in section.clips)
        return " ".join(section.text)

    assert "name the run's with --features" in text(settings.model_copy(update={"index": tmp_path / "none.h5"}))
    assert "with --root" in text(settings.model_copy(update={"corpus": CorpusSettings(root=tmp_path)}))
    assert "No media" not in text(settings, "none")


def test_features_of_another_run_are_an_error_only_if_they_were_named(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    other = replace(source, content={**source.content, "features": "f" * 32})
    with pytest.raises(UsageError, match="expected the features of the run"):
        mistakes_section(other, settings, tmp_path / "r.html", mode="embed", count=3, required=True)
    section = mistakes_section(other, settings, tmp_path / "r.html", mode="embed", count=3, required=False)
    assert section is not None
    assert "got others" in section.text[1]
