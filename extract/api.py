"""`foal.extract`: extraction from Python, with the settings of `foal extract` and without output."""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path

from ..shared.cli.console import quiet_console
from ..shared.config.settings import Settings, load_settings
from ..shared.files.part import Part
from .run import extract as run
from .schedule.summary import ExtractResult


def extract(
    manifest: str | Path | None = None,
    *,
    root: str | Path | None = None,
    features_dir: str | Path | None = None,
    index: str | Path | None = None,
    splits: Sequence[str] = ("all",),
    part: str | None = None,
    settings: Settings | None = None,
    retry_failed: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ExtractResult:
    """Extract the missing features of a corpus and write feats.h5, as `foal extract` does.

    The encoders run in worker processes. A script that calls this needs `if __name__ == "__main__":`, because each
    worker imports the script; a notebook does not.

    Args:
        manifest: manifest (CSV) (None: corpus.manifest of the settings).
        root: folder that the media paths of the manifest are relative to (None: corpus.root).
        features_dir: folder of the shards (None: extract.features_dir).
        index: the feats.h5 to write (None: index of the settings).
        splits: sessions or corpora to extract.
        part: `I/N`: extract part I of N, and write no index; all parts may run at the same time. Afterwards
            `foal index` writes feats.h5.
        settings: all settings (None: params.yaml if it exists, else the defaults); see `foal.load_settings`.
        retry_failed: retry utterances that failed before even if nothing changed.
        progress: called with the number of finished utterances and of all that had features missing.

    Returns:
        What was done. `failed` utterances are in failures.csv of each split, with reason and remedy.

    Raises:
        FoalError: an argument is wrong, or the extraction cannot start or was ended. Finished shards stay, and the next
            call resumes.

    Example:
        >>> result = foal.extract("manifest.csv", root="corpus", progress=lambda done, total: print(done, total))
        >>> result.utterances, result.failed, result.index
    """
    settings = settings or load_settings()
    corpus = {"manifest": manifest, "root": root}
    settings = settings.model_copy(
        update={
            "corpus": settings.corpus.model_copy(update={key: Path(path) for key, path in corpus.items() if path}),
            **({"index": Path(index)} if index else {}),
        }
    )
    if features_dir:
        extraction = settings.extract.model_copy(update={"features_dir": Path(features_dir)})
        settings = settings.model_copy(update={"extract": extraction})
    with quiet_console():
        try:
            return run(
                settings,
                splits,
                index=None if part else settings.index,
                part=Part.parse(part) if part else None,
                retry_failed=retry_failed,
                progress=progress,
            )
        finally:
            # `run` excludes the objects of this process from garbage collection. The caller goes on.
            gc.unfreeze()
