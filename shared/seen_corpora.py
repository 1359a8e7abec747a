"""Encoders that were trained on labels of the corpora that foal reads; results on these corpora are not comparable.

An entry needs a source that states it. Encoders whose pre-training saw unlabelled audio of a corpus are not listed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SeenCorpora:
    """An encoder that was trained on labels of some corpora.

    Attributes:
        encoder: part of its name, as on the hub.
        corpora: the corpora, by the names of `foal manifest`.
        fact: what was seen.
        source: page or paper that states it.
        weights: hashes of its weights, as in `feats.h5`, by which a copy under another name is found.
    """

    encoder: str
    corpora: tuple[str, ...]
    fact: str
    source: str
    weights: frozenset[str] = frozenset()


_EMOBOX = ("iemocap", "meld", "cremad", "ravdess", "emodb", "savee", "mer2023")
_EMOBOX_PAGE = "https://github.com/emo-box/EmoBox"

SEEN_CORPORA: tuple[SeenCorpora, ...] = (
    # The dialogs were compared with the splits in the authors' repository: all others of the test sets are in their
    # development splits.
    SeenCorpora(
        encoder="emoberta-base",
        corpora=("meld", "iemocap"),
        fact="its training split has 249 of MELD's 280 test dialogs and 23 of IEMOCAP's 31",
        source="https://github.com/tae898/erc",
    ),
    SeenCorpora(
        encoder="emoberta-large",
        corpora=("meld", "iemocap"),
        fact="its training split has 249 of MELD's 280 test dialogs and 23 of IEMOCAP's 31",
        source="https://github.com/tae898/erc",
    ),
    SeenCorpora(
        encoder="emotion-english-distilroberta-base",
        corpora=("meld",),
        fact="it was fine-tuned on six corpora, MELD among them",
        source="https://huggingface.co/j-hartmann/emotion-english-distilroberta-base",
    ),
    SeenCorpora(
        encoder="emotion-english-roberta-large",
        corpora=("meld",),
        fact="it was fine-tuned on six corpora, MELD among them",
        source="https://huggingface.co/j-hartmann/emotion-english-roberta-large",
    ),
    SeenCorpora(
        encoder="emotion2vec_plus_seed",
        corpora=_EMOBOX,
        fact=f"it was fine-tuned on the corpora of EmoBox ({_EMOBOX_PAGE})",
        source="https://huggingface.co/emotion2vec/emotion2vec_plus_seed",
    ),
    *(
        SeenCorpora(
            encoder=f"emotion2vec_plus_{size}",
            corpora=_EMOBOX,
            fact=f"it was fine-tuned on labels predicted by a model that was fine-tuned on EmoBox ({_EMOBOX_PAGE})",
            source="https://huggingface.co/emotion2vec/emotion2vec_plus_seed",
        )
        for size in ("base", "large")
    ),
    *(
        SeenCorpora(
            encoder=f"{name}-superb-er",
            corpora=("iemocap",),
            fact="it was fine-tuned on IEMOCAP",
            source=f"https://huggingface.co/superb/{name}-superb-er",
        )
        for name in ("wav2vec2-base", "wav2vec2-large")
    ),
    SeenCorpora(
        encoder="emotion-recognition-wav2vec2-iemocap",
        corpora=("iemocap",),
        fact="it was fine-tuned on IEMOCAP",
        source="https://huggingface.co/speechbrain/emotion-recognition-wav2vec2-IEMOCAP",
    ),
    SeenCorpora(
        encoder="wav2vec2-lg-xlsr-en-speech-emotion-recognition",
        corpora=("ravdess",),
        fact="it was fine-tuned on RAVDESS",
        source="https://huggingface.co/ehcalabres/wav2vec2-lg-xlsr-en-speech-emotion-recognition",
    ),
)


def seen_corpora(
    names: Iterable[str], weights: str, table: Sequence[SeenCorpora] = SEEN_CORPORA
) -> tuple[SeenCorpora, ...]:
    """The entries of an encoder.

    Args:
        names: its name or path, and, for imported features, the name of the stream; case and separators do not count.
        weights: hash of its weights; empty if unknown.
        table: the entries to search.
    """
    plain = [_plain(name) for name in names]
    return tuple(
        entry for entry in table if weights in entry.weights or any(_plain(entry.encoder) in name for name in plain)
    )


def seen_corpora_json(names: Iterable[str], weights: str) -> list[dict[str, Any]]:
    """The entries of an encoder for the provenance of a stream, as JSON values; see `seen_corpora`."""
    return [
        {"encoder": entry.encoder, "corpora": list(entry.corpora), "fact": entry.fact, "source": entry.source}
        for entry in seen_corpora(names, weights)
    ]


def seen_corpus_warnings(seen: Mapping[str, Sequence[Mapping[str, Any]]], corpora: Iterable[str]) -> list[str]:
    """A warning for each stream whose encoder was trained on a corpus that is used.

    Args:
        seen: entries (see `seen_corpora_json`) by the name of the stream.
        corpora: names of the corpora that are used, as in the manifest.
    """
    used = {name: _plain(name) for name in sorted(set(corpora))}
    warnings = []
    for stream, entries in seen.items():
        for entry in entries:
            common = [name for name, plain in used.items() if any(_plain(each) in plain for each in entry["corpora"])]
            if common:
                warnings.append(
                    f"encoder saw the corpus: the encoder of {stream} ({entry['encoder']}) was trained on labels of "
                    f"{', '.join(common)}: {entry['fact']} ({entry['source']}); scores are not comparable with those "
                    "of other encoders"
                )
    return warnings


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
