"""The spine of `foal index`: which shards, joined with which manifest."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..shared.catalog import Media, keys_on_disk
from ..shared.console import make_console
from ..shared.errors import EncoderError, UsageError
from ..shared.join import choose_keys, write_index
from ..shared.settings import MODALITIES, Settings
from ..shared.utterance import read_manifest
from .outcome import report_index
from .recipe import present_key


def index_features(settings: Settings, out: Path, *, pack: bool, keys: Sequence[str]) -> None:
    """Write feats.h5 over the shards in the features folder.

    Where the folder holds shards of several keys, those of the present settings count, unless a key is given.
    """
    console = make_console()
    manifest = read_manifest(settings.corpus.manifest)
    features = settings.extract.features
    preferred = _given(keys)
    modalities: list[str] = [modality for modality in MODALITIES if modality in settings.extract.modalities]
    for modality in modalities:
        if modality not in preferred and len(keys_on_disk(features, modality)) > 1:
            # Hashing the weights takes a while, and they need not be on this machine: only when it matters.
            with suppress(EncoderError):
                preferred[modality] = present_key(settings.extract, modality)
    chosen = choose_keys(features, modalities, preferred)
    for modality, key in chosen.items():
        console.print(f"{modality}: the shards of key {key[:8]}")
    report_index(write_index(out, manifest, features, chosen, media=Media(settings.corpus.root), pack=pack), console)


def _given(keys: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in keys:
        modality, equals, key = text.partition("=")
        if not equals or modality not in MODALITIES or not key:
            raise UsageError(f"--key: expected MODALITY=KEY with a modality of {', '.join(MODALITIES)}, got {text!r}")
        given[modality] = key
    return given
