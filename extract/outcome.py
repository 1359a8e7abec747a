"""What came of an extraction: the table, failures.csv, the word about the index."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..shared.catalog import Media, read_catalog
from ..shared.files import replaced_atomically
from ..shared.join import Joined
from ..shared.settings import Settings
from ..shared.utterance import Utterance, split_folder, splits_of
from .failure import Failure
from .recipe import Recipe

REMEDY = "mend or replace the file, or take the row out of the manifest; then run the same command again"


def summary(settings: Settings, utterances: list[Utterance], recipes: Sequence[Recipe]) -> Table:
    """Per split and stream: how many utterances have features, how many the modality, how many frames."""
    random = " (random weights)" if any(recipe.header.random_weights for recipe in recipes) else ""
    table = Table(
        "split", "features", "encoder", "utterances", "with it", "frames", "valid frames", title=f"features{random}"
    )
    for column in table.columns[3:]:
        column.justify = "right"
    by_split, media = splits_of(utterances), Media(settings.corpus.root)
    for recipe in recipes:
        catalog = read_catalog(settings.extract.features, recipe.modality, recipe.header.key, by_split)
        for split, members in by_split.items():
            found = [located for u in members if (located := catalog.find(u, recipe.modality, media)) is not None]
            frames, valid = sum(at.length for at in found), sum(at.valid_frames for at in found)
            table.add_row(
                split, recipe.stream, recipe.header.encoder, f"{len(found)}/{len(members)}",
                str(sum(at.valid_frames > 0 for at in found)), str(frames), f"{valid / max(1, frames):.1%}",
            )  # fmt: skip
    return table


def write_failures(features: Path, utterances: Sequence[Utterance], failures: Sequence[Failure]) -> None:
    """failures.csv of each split: this run's failures with reason and remedy; none, no file."""
    for split in splits_of(utterances):
        path = features / split_folder(split) / "failures.csv"
        rows = [failure for failure in failures if failure.split == split]
        if not rows:
            path.unlink(missing_ok=True)
            continue
        with replaced_atomically(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "split", "modality", "media", "reason", "remedy"])
            writer.writerows([f.id, f.split, f.modality, f.media, f.reason, REMEDY] for f in rows)


def report_index(joined: Joined, console: Console) -> None:
    """Say what an index holds and what it does not."""
    for path, reason in joined.damaged.items():
        console.print(f"warning: {path}: {reason}")
    if joined.not_extracted:
        some = ", ".join(joined.not_extracted[:5]) + (", ..." if len(joined.not_extracted) > 5 else "")
        console.print(
            f"not in the index, because not extracted or of changed media: {len(joined.not_extracted)} utterances "
            f"({some})"
        )
    console.print(f"{joined.path}: {joined.utterances} utterances{'' if joined.changed else ', unchanged'}")


def report_failures(failures: Sequence[Failure], console: Console, *, most: int = 10) -> None:
    """Say which utterances failed and why, the first few of them."""
    for failure in failures[:most]:
        console.print(f"failed: {failure.id} ({failure.modality}, {failure.media}): {failure.reason}")
    if failures:
        count = len({failure.id for failure in failures})
        console.print(
            f"{count} utterance{'s' * (count > 1)} failed; the failures.csv of each split names all, with remedies"
        )
