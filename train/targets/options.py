"""Checks of options against the targets; imports no torch, since the command line does not."""

from ...shared.config.train_settings import TrainSettings
from ...shared.errors import UsageError


def check_asked_losses(settings: TrainSettings, given: frozenset[str]) -> None:
    """Raise UsageError if an option asks for AVEL or MEM, which compare classes, without classes.

    A params.yaml that lists all keys asks for nothing: there, the losses are left out and the results report it.

    Args:
        settings: settings of training.
        given: keys that options set.
    """
    asked = [name for name in ("avel", "mem") if f"train.{name}" in given and getattr(settings, name)]
    if asked and not settings.has_classes:
        raise UsageError(
            f"train.{asked[0]}: {asked[0].upper()} compares classes, but train.target is {', '.join(settings.target)}; "
            "leave the option out, or add label to train.target"
        )
