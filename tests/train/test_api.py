"""Training from Python."""

import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import foal
from foal.shared.errors import FoalError
from foal.tests.train.quick_run import read_csv, settings
from foal.train.fit.history import Epoch
from foal.train.fit.task import FoldScore
from foal.train.run import train as run


@pytest.mark.usefixtures("library_logging")
def test_training_prints_nothing_and_gives_the_run_of_the_command(
    feats: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[Epoch | FoldScore] = []
    result = foal.train(feats, out=tmp_path / "run", settings=settings(), progress=steps.append)
    assert capfd.readouterr() == ("", "")
    assert result.folder == tmp_path / "run"
    assert result.metrics == run(settings(), feats, tmp_path / "other")
    assert {type(step) for step in steps} == {Epoch, FoldScore}
    again = foal.read_run(tmp_path / "run")
    assert again == result


def test_predictions_are_a_table_with_or_without_pandas(
    feats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foal.train(feats, out=tmp_path / "run", settings=settings(seeds=(3, 5)))
    table = foal.read_run(tmp_path / "run").predictions
    monkeypatch.setitem(sys.modules, "pandas", None)
    rows = foal.read_run(tmp_path / "run").predictions
    expected = read_csv(tmp_path / "run" / "predictions.csv")
    assert [row["id"] for row in rows] == list(table["id"]) == [row["id"] for row in expected]
    classes = foal.read_run(tmp_path / "run").metrics["classes"]
    for row, (_, entry), text in zip(rows, table.iterrows(), expected, strict=True):
        assert sum(row[f"p_{name}"] for name in classes) == pytest.approx(1, abs=1e-5)
        assert (
            row == dict(entry) | {"seed": row["seed"]} == {**text, **{f"p_{n}": float(text[f"p_{n}"]) for n in classes}}
        )


def test_plots_are_figures(feats: Path, tmp_path: Path) -> None:
    result = foal.train(feats, out=tmp_path / "run", settings=settings())
    assert isinstance(result.plot(), Figure)
    (losses, *_) = result.plot("learning").axes
    assert losses.get_xlabel() == "epoch"
    with pytest.raises(ValueError, match="kind: expected confusion or learning, got 'roc'"):
        result.plot("roc")  # type: ignore[arg-type]


def test_errors_are_those_of_the_command(feats: Path, tmp_path: Path) -> None:
    foal.train(feats, out=tmp_path / "run", settings=settings())
    with pytest.raises(FoalError, match="a finished run exists"):
        foal.train(feats, out=tmp_path / "run", settings=settings())
    with pytest.raises(FoalError, match=r"no\.h5"):
        foal.train(tmp_path / "no.h5", out=tmp_path / "other", settings=settings())
    with pytest.raises(FoalError, match="no such run"):
        foal.read_run(tmp_path / "other")
