"""params.yaml and dvc.yaml of a project folder, derived from those of the repository: text to text."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Preset = Literal["laptop", "gpu", "slurm"]

AUDIO, FACE, TEXT = "facebook/wav2vec2-base", "vggface2", "FacebookAI/roberta-base"
SYNTHETIC = "synthetic"
ROOTS = {
    "synthetic": "data/synthetic",
    "iemocap": "/data/IEMOCAP_full_release",
    "meld": "/data/MELD.Raw",
    "cremad": "/data/CREMA-D",
    "ravdess": "/data/RAVDESS",
    "emodb": "/data/EmoDB",
    "savee": "/data/SAVEE",
    "mer": "/data/MER2023",
    "folder": "/data/my-corpus",
    "csv": "/data/my-corpus",
}
"""Corpus root by kind of corpus; all but the first are to be changed."""
STREAMS = {"cremad": ("audio", "face"), "ravdess": ("audio", "face"), "savee": ("audio", "face"), "emodb": ("audio",)}
"""Streams of the corpora without transcripts, or without videos."""
UNKNOWN_STREAMS = {"folder": ("audio", "face"), "csv": ("audio", "face"), "mer": ("audio", "face")}
"""Streams of corpora of which foal does not know whether there are transcripts."""

HEADER = """\
# Settings of this project. They are the ones that change a result; `foal COMMAND --help` explains each key, and an
# option of a command overrides it. Written by `foal init --preset {preset} --corpus {kind}`; it is yours to edit.
"""
PIPELINE_HEADER = """\
# corpus -> manifest -> extract -> index -> train; `dvc repro` runs what has changed.
#
# A stage depends on the code of the installed foal that decides its numbers: in every `dvc repro`, the stage `code`
# writes one hash per stage to code.json, and a stage runs again if its hash has changed. The settings under `cluster`
# change no number and are no parameters of a stage. Extraction takes the sessions from the manifest and resumes with
# what is missing. Written by `foal init`.
"""
CODE_STAGE = """\
  code:
    cmd: foal code-hash
    # The code is that of the installed package, which is no file of this folder.
    always_changed: true
    outs:
      - code.json:
          cache: false
"""
IGNORED = (
    "/code.json",
    "/corpus.json",
    "/data/",
    "/failures.csv",
    "/feats.h5",
    "/features/",
    "/manifests/*.csv",
    "/runs/",
)
"""What commands write; lines of .gitignore."""


@dataclass(frozen=True)
class Value:
    """A value of params.yaml in YAML, and the comment behind it (None: keep the present one)."""

    text: str
    comment: str | None = None


def project_params(source: str, preset: Preset, kind: str) -> str:
    """The params.yaml of a project.

    Args:
        source: params.yaml of the repository.
        preset: of the machine.
        kind: of the corpus.
    """
    body = source[source.index("corpus:") :]
    return HEADER.format(preset=preset, kind=kind) + with_values(body, _changes(preset, kind))


def project_pipeline(source: str) -> str:
    """The dvc.yaml of a project: that of the repository, with another stage `code`."""
    start, end = source.index("  code:\n"), source.index("  corpus:\n")
    return f"{PIPELINE_HEADER}stages:\n{CODE_STAGE}{source[end:]}" if start < end else source


def project_ignored(present: Sequence[str]) -> list[str]:
    """The lines that a .gitignore with these lines lacks."""
    return [line for line in IGNORED if line not in present]


def with_values(text: str, changes: Mapping[str, Value]) -> str:
    """Replace values of a YAML text of nested mappings with two spaces per level; comments and order stay.

    Args:
        text: the YAML.
        changes: new values by dotted key.

    Raises:
        KeyError: a key does not occur.
    """
    lines, path, done = [], list[str](), set[str]()
    for line in text.splitlines():
        match = re.fullmatch(r"( *)([a-z_]+):(?: ([^#]*?))?( *#.*)?", line)
        if match is None:
            lines.append(line)
            continue
        indent, key, _, comment = match.groups()
        path[len(indent) // 2 :] = [key]
        change = changes.get(".".join(path))
        if change is None:
            lines.append(line)
            continue
        done.add(".".join(path))
        if change.comment is not None:
            comment = f" # {change.comment}" if change.comment else ""
        lines.append(f"{indent}{key}: {change.text}{comment or ''}")
    if missing := changes.keys() - done:
        raise KeyError(", ".join(sorted(missing)))
    return "\n".join(lines) + "\n"


def _changes(preset: Preset, kind: str) -> dict[str, Value]:
    streams = STREAMS.get(kind) or UNKNOWN_STREAMS.get(kind) or ("audio", "face", "text")
    trained = [name for name in ("audio", "face") if name in streams]
    changes = {
        "corpus.kind": Value(kind),
        "corpus.root": Value(ROOTS[kind]),
        "extract.streams": Value(f"[{', '.join(streams)}]", _streams_comment(kind)),
        "train.streams": Value(f"[{', '.join(trained)}]"),
    }
    if kind != SYNTHETIC:
        changes |= {
            "corpus.root": Value(ROOTS[kind], "change this to the folder of the corpus"),
            "extract.chunk_seconds": Value("120.0"),
            "extract.audio.encoder": Value(AUDIO, "a name on the hub, or a local folder"),
            "extract.face.encoder": Value(FACE, "or a vision model of the hub; downloaded once"),
            "extract.text.encoder": Value(TEXT, "a name on the hub, or a local folder"),
        }
    changes |= _PRESETS[preset]
    return changes


def _streams_comment(kind: str) -> str | None:
    return "add text if the table has transcripts" if kind in UNKNOWN_STREAMS else ""


_PRESETS: Mapping[Preset, Mapping[str, Value]] = {
    "laptop": {"cluster.device": Value("cpu", "auto | cpu | cuda | cuda:N")},
    "gpu": {
        "extract.precision": Value("bf16", "fp32 | tf32 | bf16 | fp16; bf16 needs a GPU of the last years"),
        "train.seeds": Value("[0, 1, 2, 3, 4]"),
    },
    "slurm": {
        "cluster.workers": Value("0", "not used with a scheduler"),
        "train.seeds": Value("[0, 1, 2, 3, 4]"),
    },
}
SCHEDULER_LINE = "  scheduler: null # foal.slurm writes the address of its Dask scheduler here while it runs\n"


def with_scheduler(params: str) -> str:
    """Add the key cluster.scheduler, which the job file sets, to a params.yaml."""
    start = params.index("cluster:")
    end = params.index("\n", start) + 1
    return params[:end] + SCHEDULER_LINE + params[end:]
