"""Every error that foal raises on purpose.

    FoalError                exit 1   the base; its text is what the user reads
    ├── UsageError           exit 2   the command was called wrongly: unknown split, option, key
    │   └── SettingsError    exit 2   params.yaml does not say what it must
    ├── ManifestError        exit 1   a manifest or a corpus that cannot become one
    ├── MediaError           exit 1   a media file that cannot be read; costs its utterances, never the run
    ├── EncoderError         exit 1   weights that are missing, damaged or of another shape
    ├── StoreError           exit 1   a shard or feats.h5 that is missing, damaged or foreign
    │   └── FutureError      exit 1   one of a newer foal, in order (shared/hdf5/opening.py)
    └── TrainingError        exit 1   features from which nothing can be trained

A message says what was expected, what came, where, and what to do. Errors of other libraries are translated where
they enter; whatever is not a FoalError is a defect of ours and keeps its traceback.
"""


class FoalError(Exception):
    """Something the user can mend; shown as one message, without a traceback."""

    exit_code = 1


class UsageError(FoalError):
    """The command was called wrongly."""

    exit_code = 2


class SettingsError(UsageError):
    """params.yaml, or an option that overrides it, holds something unknown or out of range."""


class ManifestError(FoalError):
    """A manifest, or the corpus it is made from, breaks its contract."""


class MediaError(FoalError):
    """A media file cannot be read."""


class EncoderError(FoalError):
    """An encoder cannot be built: weights missing, damaged, or of another shape."""


class StoreError(FoalError):
    """A shard or feats.h5 is missing, damaged, foreign, or written by a newer foal."""


class TrainingError(FoalError):
    """The features do not allow this training: a modality, a class or a fold is missing."""
