"""Settings of a quick ablation."""

from foal.shared.config.settings import ClusterSettings, Settings
from foal.shared.config.train_settings import TrainSettings

# All sequences are shorter than six seconds: the system that truncates them there has the same fits as "full".
QUICK = TrainSettings(width=16, heads=2, layers=1, epochs=1, batch_size=8, bootstrap=50, seeds=(0, 1), max_seconds=6.0)
SETTINGS = Settings(train=QUICK, cluster=ClusterSettings(workers=1))
