"""The ledger of faults: every fault that is tried, what came of it, and the table in docs/reliability.md.

And what several kinds of faults need: runs in processes of their own, their workers, the features that came of them.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from foal.shared.store.shard import ShardReader

Trial = Callable[..., AbstractContextManager[Callable[[int], None]]]
Values = dict[tuple[str, str, str], tuple[bytes, bytes]]
COMMAND = [sys.executable, "-c", "from foal.shared.cli.main import main; main()"]

LEDGER = "fault"
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", metavar="FILE.md", help="write the table of the faults into this page")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Trial:
    """`with trial("a bit flips in a shard", "named by `foal verify`, made again", count=25):` around what proves it.

    Whatever is raised inside counts as lost. The block may call what it is given to add to the count.
    """

    @contextmanager
    def entered(fault: str, outcome: str, *, count: int = 1) -> Iterator[Callable[[int], None]]:
        counts = [count]
        survived = 0
        try:
            yield counts.append
            survived = sum(counts)
        finally:
            request.node.user_properties.append((LEDGER, [fault, outcome, sum(counts), survived]))

    return entered


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    counts: dict[tuple[str, str], list[int]] = {}
    for report in sorted(reports, key=lambda report: report.nodeid):
        for name, entry in report.user_properties:
            if name == LEDGER:
                fault, outcome, tried, survived = entry
                sums = counts.setdefault((fault, outcome), [0, 0])
                sums[0], sums[1] = sums[0] + tried, sums[1] + survived
    if not counts:
        return
    tried, survived = (sum(column) for column in zip(*counts.values(), strict=True))
    said = f"{tried} faults tried, {survived} survived, {tried - survived} lost"
    terminalreporter.write_line(said)
    page = config.getoption("--faults-table")
    if page:
        _write_table(Path(page), counts, said)


def _write_table(page: Path, counts: dict[tuple[str, str], list[int]], said: str) -> None:
    rows = [f"| {fault} | {tried} | {survived} | {outcome} |" for (fault, outcome), (tried, survived) in counts.items()]
    table = "\n".join(["| Fault | tried | survived | what came of it |", "|---|---:|---:|---|", *rows, "", f"{said}."])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise pytest.UsageError(f"{page}: expected the lines {BEGIN} and {END}, between which the table goes")
    page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


class Run:
    """A `foal` command in a process of its own, that can be watched and killed."""

    def __init__(self, folder: Path, *arguments: str | Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.out = self.err = ""

    def finish(self, timeout: float = 300) -> int:
        self.out, self.err = self.process.communicate(timeout=timeout)
        assert "Traceback" not in self.err, self.err
        return self.process.returncode

    def kill(self) -> None:
        """`kill -9`, and wait until all that it started has noticed."""
        started = self.descendants()
        self.process.kill()
        self.out, self.err = self.process.communicate()
        _, alive = psutil.wait_procs(started, timeout=30)
        assert not alive, "it left processes behind"

    def descendants(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def workers(self) -> list[psutil.Process]:
        """The processes of its Dask workers."""
        found = []
        for process in self.descendants():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if any("spawn_main" in word for word in process.cmdline()):
                    found.append(process)
        return found

    def wait_for(self, what: Callable[[], object], timeout: float = 120) -> None:
        """Wait until something is the case, or the run has ended."""
        deadline = time.monotonic() + timeout
        while not what() and self.process.poll() is None:
            assert time.monotonic() < deadline, "nothing happened"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def start() -> Callable[..., Run]:
    """Start a `foal` command in a folder."""
    return Run


def values_in(features: Path) -> Values:
    """The values and flags of every utterance, by split, stream's folder and id."""
    found: Values = {}
    for path in sorted(features.glob("*/*/*.h5")):
        with ShardReader(path) as shard:
            for row, name in enumerate(shard.ids):
                entry = shard.entry(row)
                place = (path.parent.parent.name, path.parent.name, name)
                found[place] = (entry.values.tobytes(), entry.valid.tobytes())
    return found


@pytest.fixture(scope="session")
def features_of() -> Callable[[Path], Values]:
    return values_in


@pytest.fixture(scope="session")
def finished_shards() -> Callable[[Path], dict[Path, tuple[int, int]]]:
    """The shards of a folder, and what changes as soon as one is written again."""

    def shards(features: Path) -> dict[Path, tuple[int, int]]:
        paths = [path for path in features.glob("*/*/*.h5") if not path.name.startswith(".")]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}

    return shards
