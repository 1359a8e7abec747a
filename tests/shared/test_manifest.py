import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foal.shared.errors import ManifestError
from foal.shared.files.unicode_names import nfc
from foal.shared.manifest import check_inside, check_media, read_manifest, write_manifest
from foal.shared.utterance import Utterance

HEADER = "id,corpus,session,speaker,gender,label,audio,video,start,end,crop"
GOOD = "u1,c,session1,s,F,hap,a.wav,v.avi,0.5,1.5,left"

# A manifest is read with names in Unicode form NFC.
text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(nfc)
name = text.filter(bool).filter(lambda s: s.strip(".") and s != "all")
number = st.none() | st.floats(-1e6, 1e6)


@st.composite
def utterances(draw: st.DrawFn) -> list[Utterance]:
    ids = draw(st.lists(name, min_size=1, max_size=5, unique=True))
    rows = []
    fold = draw(text)  # a fold for all rows, or for none
    for identity in ids:
        start = draw(st.none() | st.floats(0, 1e4))
        length = draw(st.floats(0.01, 100))
        rows.append(
            Utterance(
                id=identity,
                corpus=draw(name),
                session=draw(st.just("") | name),
                speaker=draw(text),
                gender=draw(text),
                label=draw(text),
                audio=draw(name),
                video=draw(text),
                start=start,
                end=draw(st.none() | st.just((start or 0.0) + length)),
                crop=draw(st.sampled_from(["full", "left", "right", "0,0.25,0.5,1"])),
                fold=fold,
                transcript=draw(text),
                valence=draw(number),
                arousal=draw(number),
                dominance=draw(number),
                dialog=draw(text),
                turn=draw(st.none() | st.integers(0, 10**6)),
                scene=draw(text),
            )
        )
    return rows


@given(utterances())
def test_a_manifest_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Utterance]
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "m.csv"
    write_manifest(path, rows)
    assert read_manifest(path) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lacks column 'id'"),
        (HEADER, "empty"),
        (HEADER.replace("label,", ""), "lacks column 'label'"),
        (HEADER + ",colour\n" + GOOD + ",red", "unknown column 'colour'"),
        (HEADER + ",id\n" + GOOD + ",x", "repeats column 'id'"),
        (f"{HEADER}\n{GOOD.replace('1.5', '0.25')}", r"line 2, column end: expected a time after the start"),
        (f"{HEADER}\n{GOOD.replace('0.5', '-1')}", r"line 2, column start"),
        (
            f"{HEADER}\n{GOOD.replace('0.5', 'soon')}",
            r"line 2, column start: expected a number or an empty cell, got 'soon'",
        ),
        (f"{HEADER}\n{GOOD.replace('1.5', 'nan')}", r"line 2, column end: expected a number"),
        (f"{HEADER}\n{GOOD.replace('left', 'middle')}", r"line 2, column crop"),
        (f"{HEADER}\n{GOOD}\n{GOOD}", r"line 3, column id: expected unique ids, got 'u1' again \(first on line 2\)"),
        (f"{HEADER}\n{GOOD},x", r"as many cells"),
        (f"{HEADER}\nu1,c", r"as many cells"),
        (f"{HEADER}\n{GOOD.replace('u1', '')}", r"column id"),
        (f"{HEADER}\n{GOOD.replace('session1', '..')}", r"column session"),
    ],
)
def test_an_invalid_manifest_is_refused_with_line_and_column(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


@pytest.mark.parametrize(
    "content", [f"{HEADER}\nu1,c,s,,,hap,,,,,", "id,corpus,session,speaker,gender,label\nu1,c,s,,,hap"]
)
def test_a_manifest_without_media_is_read_but_not_for_extraction(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(content)
    rows = read_manifest(path)
    assert rows == [Utterance(id="u1", corpus="c", session="s", label="hap")]
    with pytest.raises(
        ManifestError, match=r"m\.csv: expected a media file .*, got none of them for 1 utterance \(u1\); .*import"
    ):
        check_media(rows, path)
    check_media([Utterance(id="u2", corpus="c", video="v.mp4")], path)


def test_all_invalid_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("\n".join([HEADER, *(f"u{i},c,s,s,F,hap,a,v,2,1,full" for i in range(30))]))
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert "line 2," in str(caught.value)
    assert "line 21," in str(caught.value)
    assert "and 10 more" in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_files_that_are_not_manifests_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.csv"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00\x80" * 50)
    with pytest.raises(ManifestError, match=r"m\.csv"):
        read_manifest(path)


@pytest.mark.parametrize("number", ["1e999", "nan", "9" * 5000, "0x1"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(f"{HEADER}\n{GOOD.replace('1.5', number)}")
    with pytest.raises(ManifestError, match="column end: expected a number") as caught:
        read_manifest(path)
    assert len(str(caught.value)) < 1000


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="got a folder, a pipe or a device"):
        read_manifest(tmp_path / "m.csv")


def test_ids_with_any_line_ending_read_back(tmp_path: Path) -> None:
    rows = [Utterance(id=name, corpus="c", audio="a.wav") for name in ("a\nb", "a\rb", "a\r\nb", "\r", "plain")]
    write_manifest(tmp_path / "m.csv", rows)
    assert read_manifest(tmp_path / "m.csv") == rows


@pytest.mark.parametrize(
    ("media", "message"),
    [
        ("a.wav", ""),
        ("in/a.wav", ""),
        ("in/../a.wav", ""),
        ("gone/a.wav", ""),
        ("in/link.wav", ""),
        (".", ""),
        ("/etc/passwd", "absolute"),
        ("../a.wav", r"through \.\."),
        ("in/../../root2/a.wav", r"through \.\."),
        ("out/a.wav", "symbolic link"),
        ("out.wav", "symbolic link"),
        ("out/../a.wav", "symbolic link"),
        ("twice/a.wav", "symbolic link"),
        ("in/back", "symbolic link"),
    ],
)
def test_paths_outside_the_root_are_refused(tmp_path: Path, media: str, message: str) -> None:
    real = tmp_path / "real"
    (real / "in").mkdir(parents=True)
    (tmp_path / "root2" / "sub").mkdir(parents=True)
    (tmp_path / "root").symlink_to("real")
    (real / "out").symlink_to("../root2/sub")
    (real / "twice").symlink_to("out")
    (real / "out.wav").symlink_to("/etc/hostname")
    (real / "in" / "link.wav").symlink_to("../a.wav")
    (real / "in" / "back").symlink_to("../../root2")
    row = Utterance(id="u", corpus="c", video=media)
    if not message:
        check_inside([row], tmp_path / "root", tmp_path / "m.csv")
        return
    with pytest.raises(ManifestError, match=rf"m\.csv, id 'u', column video: .*{message}.*allow-outside"):
        check_inside([row], tmp_path / "root", tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="and 5 more"):
        check_inside([row] * 25, tmp_path / "root", tmp_path / "m.csv")


def test_names_are_compared_in_one_unicode_form_and_paths_stay_as_written(tmp_path: Path) -> None:
    nfd = "Zoe\u0308"
    row = Utterance(id=nfd, corpus="c", session=nfd, speaker=nfd, label=nfd, audio=nfd, transcript=nfd)
    write_manifest(tmp_path / "m.csv", [row])
    (read,) = read_manifest(tmp_path / "m.csv")
    assert {read.id, read.session, read.speaker, read.label} == {"Zo\u00eb"}
    assert read.audio == read.transcript == nfd
    with pytest.raises(ManifestError, match=r"expected unique ids, .* differ only in their Unicode form are equal"):
        write_manifest(tmp_path / "m.csv", [row, replace(row, id="Zo\u00eb")])


def test_a_link_that_leads_outside_is_found_in_the_other_unicode_form(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "secret.wav").write_text("sound")
    (tmp_path / "corpus" / "e\u0301.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(ManifestError, match="through a symbolic link"):
        check_inside([Utterance(id="a", audio="\u00e9.wav")], tmp_path / "corpus", tmp_path / "m.csv")


ROW = "u{n},c,s,p,,joy,{n}.wav,,,,full,{fold}\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER.replace(",", ";").encode(), "line 1: expected columns separated by commas, got semicolons"),
        (HEADER.replace(",", "\t").encode(), "line 1: expected columns separated by commas, got tabs"),
        (HEADER.upper().encode(), "expected the names of columns in lower case and without spaces, got 'ID', 'CORPUS'"),
        (HEADER.replace("label", " Label").encode(), "without spaces, got ' Label'"),
        (HEADER.encode("utf-16"), "got UTF-16; save it as CSV UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "got a Git LFS pointer.*git lfs pull"),
    ],
    ids=["semicolons", "tabs", "capitals", "space", "utf-16", "lfs"],
)
def test_other_tables_are_named_as_what_they_are(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.csv").write_bytes(content + b"\n" * (b"git-lfs" not in content))
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "m.csv")


def test_an_empty_cell_in_a_filled_column_fold_is_an_error_with_line_and_id(tmp_path: Path) -> None:
    folds = ["train"] * 5 + ["val", "test", ""]
    rows = "".join(ROW.format(n=n, fold=fold) for n, fold in enumerate(folds))
    path = tmp_path / "m.csv"
    path.write_text(f"{HEADER},fold\n{rows}")
    with pytest.raises(ManifestError, match=r"line 9, column fold: expected a fold for 'u7', as the other 7 rows"):
        read_manifest(path)
    # Context needs no fold, and neither does a corpus without folds.
    path.write_text(f"{HEADER},fold\n{rows.replace('joy,7.wav', ',7.wav')}u9,other,,,,joy,9.wav,,,,full,\n")
    assert [row.fold for row in read_manifest(path)][-2:] == ["", ""]


def test_columns_of_dialogs_are_written_only_if_filled(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    row = Utterance(id="a", corpus="c", audio="a.wav")
    write_manifest(path, [row])
    assert "dialog" not in path.read_text()
    write_manifest(path, [row, Utterance(id="b", corpus="c", audio="a.wav", turn=3)])
    assert path.read_text().startswith(f"{HEADER},fold,transcript,valence,arousal,dominance,turn\n")
    assert [row.turn for row in read_manifest(path)] == [None, 3]
    path.write_text(f"{HEADER},turn\n{ROW.format(n=1, fold='1.5')}")
    with pytest.raises(ManifestError, match=r"column turn: expected a whole number from 0 on .*, got '1.5'"):
        read_manifest(path)
