"""What came of an extraction: the table, the utterances that are not whole, the word about the index."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from ...shared.config.settings import Settings
from ...shared.store.catalog import MediaFingerprints, read_catalog
from ...shared.store.index_writer import IndexResult
from ...shared.text import preview_ids
from ...shared.utterance import Utterance, splits_of
from .failures import Failure
from .stream_spec import Recipe


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What lies in the features folder: counted in a table; (id, stream) of utterances without features.

    `short` are those of which less could be decoded than their file declares.
    """

    table: Table
    missing: tuple[tuple[str, str], ...]
    short: tuple[str, ...]


def outcome(settings: Settings, utterances: list[Utterance], recipes: Sequence[Recipe]) -> Outcome:
    """Per split and stream: how many utterances have features, how many the modality, how many frames."""
    random = " (random weights)" if any(recipe.header.random_weights for recipe in recipes) else ""
    table = Table(
        "split", "features", "encoder", "utterances", "with it", "frames", "valid frames", title=f"features{random}"
    )
    for column in table.columns[3:]:
        column.justify = "right"
    missing: list[tuple[str, str]] = []
    short: dict[str, None] = {}
    by_split, media = splits_of(utterances), MediaFingerprints(settings.corpus.root)
    for recipe in recipes:
        catalog = read_catalog(settings.extract.features_dir, recipe.modality, recipe.header.config_hash, by_split)
        for split, members in by_split.items():
            by_id = {u.id: catalog.find(u, recipe.modality, media) for u in members}
            found = [located for located in by_id.values() if located is not None]
            missing += [(name, recipe.stream) for name, located in by_id.items() if located is None]
            short |= {name: None for name, at in by_id.items() if at is not None and at.quality.get("decoded", 1.0) < 1}
            frames, valid = sum(at.length for at in found), sum(at.valid_frames for at in found)
            table.add_row(
                split,
                recipe.stream,
                recipe.header.encoder,
                f"{len(found)}/{len(members)}",
                str(sum(at.valid_frames > 0 for at in found)),
                str(frames),
                f"{valid / max(1, frames):.1%}",
            )
    return Outcome(table=table, missing=tuple(missing), short=tuple(short))


def report_outcome(found: Outcome, console: Console) -> None:
    """Show the table, and name the utterances that are not whole."""
    console.print(found.table)
    if found.short:
        console.print(
            f"decoded only in part, since their files are damaged or cut off: {preview_ids(found.short)}; "
            "`foal inspect --csv` has the share of each in the columns called decoded"
        )


def report_index(joined: IndexResult, console: Console) -> None:
    """Say what an index holds and what it does not."""
    for path, reason in joined.damaged.items():
        console.print(f"warning: {path}: {reason}")
    if joined.not_extracted:
        console.print(
            f"not in the index, because not extracted or of changed media: {preview_ids(joined.not_extracted)}"
        )
    console.print(f"{joined.path}: {joined.utterances} utterances{'' if joined.changed else ', unchanged'}")


def report_failures(failures: Sequence[Failure], console: Console, *, most: int = 10) -> None:
    """Say which utterances failed and why, the first few of them."""
    for failure in failures[:most]:
        console.print(f"failed: {failure.id} ({failure.stream}, {failure.media}): {failure.reason}")
    if failures:
        count = len({failure.id for failure in failures})
        console.print(
            f"{count} utterance{'s' * (count > 1)} failed; the failures.csv of each split names all, with remedies"
        )
