"""The script floor of manifests, among them one that is built from label files in IEMOCAP's layout."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from foal.manifests.corpora.iemocap import build
from foal.shared.errors import TrainingError
from foal.shared.utterance import Utterance
from foal.tests.train.floor.iemocap_like import CLASSES, label_table
from foal.train.floor.manifest import floor_of_manifest


def write_label_files(root: Path, turns: Sequence[Utterance]) -> None:
    """Label files in IEMOCAP's layout, and an empty file for the video of each dialog."""
    lines: dict[tuple[str, str], list[str]] = {}
    for turn in turns:
        line = f"[{turn.start:.4f} - {turn.end:.4f}]\t{turn.id}\t{turn.label or 'xxx'}\t[2.5, 2.5, 2.5]"
        lines.setdefault((turn.session, turn.dialog), []).append(line)
    for (session, dialog), rows in lines.items():
        folder = root / session.capitalize() / "dialog"
        (folder / "EmoEvaluation").mkdir(parents=True, exist_ok=True)
        (folder / "avi" / "DivX").mkdir(parents=True, exist_ok=True)
        (folder / "avi" / "DivX" / f"{dialog}.avi").touch()
        (folder / "EmoEvaluation" / f"{dialog}.txt").write_text("\n".join(["% header", *rows, ""]))


def test_the_manifest_of_label_files_has_the_floor_of_their_curves(tmp_path: Path) -> None:
    table = label_table(turns=40)
    write_label_files(tmp_path, table.turns)
    utterances = build(tmp_path, corpus="made-up", context=True).utterances
    assert len(utterances) == len(table.turns)
    loso = floor_of_manifest(utterances, classes=CLASSES)
    assert (loso["folds"], loso["n"]) == (5, sum(bool(turn.label) for turn in table.turns))
    assert loso["script_floor"] == floor_of_manifest(table.turns, classes=CLASSES)["script_floor"]
    assert loso["script_floor"]["context"] is True
    assert loso["script_floor"]["levels"]["time"]["wa"] == pytest.approx(table.expected["time"], abs=0.06)
    # Script01, script02 and script03 are held out as a whole, the performance script01_1b with them.
    scenes = floor_of_manifest(utterances, "loso-scenes-nested", classes=CLASSES)
    assert scenes["folds"] == 5 * (3 + 8)
    assert scenes["script_floor"]["levels"]["time"]["wa"] < 0.31
    assert floor_of_manifest(utterances, "loso-scenes-nested", scene_groups=3)["folds"] == 15


def test_without_two_classes_there_is_no_floor() -> None:
    with pytest.raises(TrainingError, match="labels of at least two classes in the manifest, got a"):
        floor_of_manifest([Utterance(id="u", label="a", session="s", scene="x")])
