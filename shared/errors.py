"""The errors that foal raises on purpose.

    FoalError                exit 1   base class; the user reads its text
    ├── UsageError           exit 2   wrong usage of a command: unknown split, option or key
    │   └── SettingsError    exit 2   an invalid value in params.yaml or in an option that overrides it
    ├── ManifestError        exit 1   an invalid manifest, or a corpus from which none can be built
    ├── MediaError           exit 1   a media file that cannot be read; its utterances fail, the run continues
    ├── EncoderError         exit 1   weights that are missing, damaged or of the wrong shape
    ├── StoreError           exit 1   a shard or feats.h5 that is missing, damaged or foreign
    │   └── FutureError      exit 1   a file of a newer foal (shared/hdf5/opening.py)
    └── TrainingError        exit 1   features on which nothing can be trained
        └── DivergedError    exit 1   a fit whose loss became NaN or infinite

A message states the expected and the actual value, the place and the remedy. Errors of other libraries are translated
where they enter; any other exception is a defect of foal and keeps its traceback.
"""


class FoalError(Exception):
    """An error that the user can correct; shown as one message without a traceback."""

    exit_code = 1


class UsageError(FoalError):
    """A command was called in a wrong way."""

    exit_code = 2


class SettingsError(UsageError):
    """params.yaml, or an option that overrides it, contains an unknown key or an invalid value."""


class ManifestError(FoalError):
    """A manifest, or the corpus that it is built from, is invalid."""


class MediaError(FoalError):
    """A media file cannot be read."""


class EncoderError(FoalError):
    """An encoder cannot be built: weights are missing, damaged, or of the wrong shape."""


class StoreError(FoalError):
    """A shard or feats.h5 is missing, damaged, foreign, or written by another version of foal."""


class TrainingError(FoalError):
    """The features do not allow this training: a modality, a class or a fold is missing."""


class DivergedError(TrainingError):
    """The loss of a fit became NaN or infinite."""
