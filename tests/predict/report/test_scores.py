from dataclasses import replace
from pathlib import Path

import numpy as np

from foal.predict.report.layout import Section
from foal.predict.report.scores import score_sections
from foal.predict.report.sources import Source, read_source
from foal.train.report.formatting import percent


def by_key(source: Source) -> dict[str, Section]:
    return {section.key: section for section in score_sections(source)}


def test_a_run_with_its_evaluation_has_all_sections(source: Source) -> None:
    retrieval = {"avel: audio to face": {"map": 0.4, "r1": 0.5, "chance": 0.25}}
    sections = by_key(replace(source, evaluation={**source.evaluation, "retrieval": retrieval}))
    assert list(sections) == ["classes", "folds", "groups", "reliability", "robustness", "retrieval", "curves"]
    assert [cell.text for cell in sections["retrieval"].tables[0].rows[0]] == [*retrieval, "40.0", "50.0", "25.0"]
    assert not sections["retrieval"].text
    retrieval["avel: audio to face"] |= {"queries": 5000, "available": 120_000}
    sampled = by_key(replace(source, evaluation={**source.evaluation, "retrieval": retrieval}))["retrieval"]
    assert list(sampled.text) == ["Retrieval: 5,000 of 120,000 queries, a random sample of each group."]


def test_a_run_without_an_evaluation_has_what_its_files_allow(source: Source) -> None:
    assert list(by_key(replace(source, evaluation={}))) == ["classes", "folds", "curves"]
    assert list(by_key(replace(source, evaluation={}, history=()))) == ["classes", "folds"]


def test_an_evaluation_has_no_folds(run: Path) -> None:
    sections = by_key(read_source(run / "evaluation"))
    assert "folds" not in sections
    assert {"classes", "groups", "curves"} <= set(sections)


def test_tables_show_the_numbers_of_the_files(source: Source) -> None:
    sections = by_key(source)
    (classes,) = sections["classes"].tables
    assert {row[0].text: row[1].text for row in classes.rows} == {
        name: percent(recall) for name, recall in source.content["per_class_recall"].items()
    }
    (folds,) = sections["folds"].tables
    first = [fold for fold in source.content["folds"] if fold["test"] == folds.rows[0][0].text]
    assert folds.rows[0][3].text == percent(float(np.mean([fold["ua"] for fold in first])))
    speakers = next(table for table in sections["groups"].tables if table.caption == "Speakers")
    assert {row[0].text: row[1].text for row in speakers.rows} == {
        name: percent(scores["ua_mean"]) for name, scores in source.evaluation["per_speaker"].items()
    }
    (bins,) = sections["reliability"].tables
    assert len(bins.rows) == sum(count > 0 for count in source.evaluation["calibration"]["bins"]["counts"])


def test_ratings_have_a_table(source: Source) -> None:
    part = {"ccc_mean": 0.41234, "ccc_ci95": [0.3, 0.5], "mae_mean": 0.7, "mae_ci95": None}
    content = {"seeds": [0], "ratings": {"dimensions": {"valence": part}}, "folds": []}
    sections = by_key(replace(source, content=content, evaluation={}, history=()))
    (table,) = sections["ratings"].tables
    assert [cell.text for cell in table.rows[0]] == ["valence", "0.412", "0.30 to 0.50", "0.700", "-"]
