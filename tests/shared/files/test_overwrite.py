"""The rule for overwriting existing outputs."""

from pathlib import Path

import pytest

from foal.shared.errors import UsageError
from foal.shared.files.overwrite import check_overwrite


def is_ours(path: Path) -> bool:
    return path.read_text() == "ours"


def check(path: Path, *, force: bool = False) -> None:
    check_overwrite(path, kind="a table", is_ours=is_ours, force=force)


def test_missing_files_and_files_of_foal_may_be_written(tmp_path: Path) -> None:
    check(tmp_path / "new")
    (tmp_path / "old").write_text("ours")
    check(tmp_path / "old")


def test_other_files_are_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "thesis"
    path.write_text("other")
    with pytest.raises(UsageError, match=r"thesis: exists and is not a table; .* --force"):
        check(path)
    check(path, force=True)


def test_a_broken_symbolic_link_counts_as_existing(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists and is not"):
        check_overwrite(path, kind="a table", is_ours=Path.is_file)
