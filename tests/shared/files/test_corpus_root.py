"""The corpus root is checked before any work, and the right one is found one level away."""

from pathlib import Path

import pytest

from foal.shared.errors import FoalError
from foal.shared.files.corpus_root import check_corpus_root

MEDIA = ["a/1.wav", "a/2.wav", "", "a/é.wav"]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The files of MEDIA in download/corpus, beside folders without them."""
    for name in ("download/corpus/a", "download/corpus/b", "download/other/a"):
        (tmp_path / name).mkdir(parents=True)
    for name in filter(None, MEDIA):
        (tmp_path / "download" / "corpus" / name).write_text("sound")
    (tmp_path / "download" / "other" / "a" / "1.wav").write_text("sound")
    return tmp_path / "download" / "corpus"


@pytest.mark.parametrize("wrong", ["download", "download/corpus/a", "download/corpus/b"])
def test_the_right_root_is_found_one_level_away(corpus: Path, tmp_path: Path, wrong: str) -> None:
    message = rf"none of the 3 files exists below it; tried .*{wrong}/a/1\.wav; did you mean --root {corpus}\?"
    with pytest.raises(FoalError, match=message):
        check_corpus_root(tmp_path / wrong, MEDIA, Path("m.csv"))


def test_a_root_further_away_is_not_guessed(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(FoalError, match="give the folder that these paths are relative to"):
        check_corpus_root(tmp_path, MEDIA, Path("m.csv"))
    with pytest.raises(FoalError, match=rf"but it does not exist; did you mean --root {corpus}\?"):
        check_corpus_root(corpus / "nowhere", MEDIA, Path("m.csv"))


def test_a_root_with_some_of_the_files_is_accepted(corpus: Path) -> None:
    check_corpus_root(corpus, MEDIA, Path("m.csv"))
    check_corpus_root(corpus, [], Path("m.csv"))
    missing = [f"session1/{number}.wav" for number in range(600)]
    check_corpus_root(corpus, [*missing, *["a/1.wav"] * 2, *["a/2.wav"]], Path("m.csv"))
    with pytest.raises(FoalError, match="none of the 600 files exists"):
        check_corpus_root(corpus, missing, Path("m.csv"))


def test_the_root_dot_has_a_parent(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus / "b")
    with pytest.raises(FoalError, match=r"tried a/1\.wav; did you mean --root \.\.\?"):
        check_corpus_root(Path(), MEDIA, Path("m.csv"))
