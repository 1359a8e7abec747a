"""Training of light heads on extracted features: `foal train`, `tune`, `ablate`, `evaluate` and `results`.

`foal.train(...)`, of the public API, calls `api.train`.
"""

from ..shared.callable_package import make_callable

make_callable(__name__, "api")
