"""Feature extraction: media files are decoded and encoded once, by frozen encoders, into HDF5 shards.

`run.py` is the main flow of `foal extract`; read it first. `cli.py` has the commands. `schedule/` plans and runs the
work, `media/` decodes, `audio/` and `face/` compute features with the models of `encoders/`, `imports/` reads
features that were computed elsewhere, `maintenance/` indexes and cleans, `inspect/` shows the result.

`foal.extract(...)`, of the public API, calls `api.extract`.
"""

from ..shared.callable_package import make_callable

make_callable(__name__, "api")
