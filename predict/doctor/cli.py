"""The command `foal doctor`."""

from typing import Annotated

import typer

from ...shared.cli.options import JSON_OPTION, with_settings
from ...shared.config.settings import Settings


@with_settings(features_dir="extract.features_dir")
def doctor(
    *,
    settings: Settings,
    hub: Annotated[
        bool, typer.Option("--hub", help="Ask the Hugging Face hub whether it can be reached (at most five seconds)")
    ] = False,
    self_test: Annotated[
        bool, typer.Option("--self-test/--no-self-test", help="Decode, detect, encode, store and train on a small clip")
    ] = True,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Check the installation and the machine; each line is OK, a warning or a failure with what to do.

    Checks Python, packages, PyTorch, GPU, decoders, processors, memory, limits, disk, the features folder and cached
    models, and runs a self-test of a few seconds. Uses no network without --hub. Exit code 1 if there is a failure.
    """
    from ...shared.cli.console import get_console, print_json
    from .finding import findings_json, findings_table
    from .machine import check_machine
    from .self_test import check_by_running
    from .software import check_software

    findings = [*check_software(), *check_machine(settings.extract.features_dir, hub=hub)]
    if self_test:
        findings += check_by_running()
    get_console().print(findings_table(findings))
    if as_json:
        print_json(findings_json(findings))
    if any(finding.level == "failure" for finding in findings):
        raise typer.Exit(1)
