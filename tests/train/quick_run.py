"""Settings of a run that takes a second, and a reader of its tables."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any

from foal.shared.config.settings import ClusterSettings, Settings
from foal.shared.config.train_settings import TrainSettings

QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=2, batch_size=8, bootstrap=50)


def settings(**changes: Any) -> Settings:
    cluster = {name: changes.pop(name) for name in ("threads", "device") if name in changes}
    return Settings(train=QUICK.model_copy(update=changes), cluster=ClusterSettings(**cluster))


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(path.read_text(encoding="utf-8"))))
