"""Records of injected faults, the table in docs/reliability.md, and fixtures for runs in separate processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from foal.shared.store.shard import ShardReader

Trial = Callable[..., AbstractContextManager[Callable[[int], None]]]
Values = dict[tuple[str, str, str], tuple[bytes, bytes]]
# The parent process may ignore signals, as a script's background jobs do.
FOAL_COMMAND = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
for number in map(int, sys.argv.pop(1).split()):
    signal.signal(number, signal.SIG_IGN)
from foal.shared.cli.main import main
main()
"""

PROPERTY = "fault"
TIMEOUT, SOAK_TIMEOUT = 1800, 7200
"""Seconds that a test of faults, or the soak test, may take."""
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-table", metavar="FILE.md", help="write the table of injected faults into this page")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.timeout(SOAK_TIMEOUT if item.get_closest_marker("soak") else TIMEOUT))


@pytest.fixture
def trial(request: pytest.FixtureRequest) -> Trial:
    """Record faults: `with trial("a bit flip in a shard", "reported by `foal verify`", count=25) as add:`.

    The block injects the faults and checks the result. If it raises, its faults count as lost. `add(n)` adds to the
    count.
    """

    @contextmanager
    def record(fault: str, outcome: str, *, count: int = 1) -> Iterator[Callable[[int], None]]:
        counts = [count]
        survived = 0
        try:
            yield counts.append
            survived = sum(counts)
        finally:
            request.node.user_properties.append((PROPERTY, [fault, outcome, sum(counts), survived]))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return  # a process of pytest-xdist has seen only its own tests
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    counts: dict[tuple[str, str], list[int]] = {}
    for report in sorted(reports, key=lambda report: report.nodeid):
        for name, entry in report.user_properties:
            if name == PROPERTY:
                fault, outcome, injected, survived = entry
                sums = counts.setdefault((fault, outcome), [0, 0])
                sums[0], sums[1] = sums[0] + injected, sums[1] + survived
    if not counts:
        return
    injected, survived = (sum(column) for column in zip(*counts.values(), strict=True))
    summary = f"{injected} faults injected, {survived} survived, {injected - survived} lost"
    terminalreporter.write_line(summary)
    page = config.getoption("--faults-table")
    if page:
        _write_table(Path(page), counts, summary)


def _write_table(page: Path, counts: dict[tuple[str, str], list[int]], summary: str) -> None:
    rows = [
        f"| {fault} | {injected} | {survived} | {outcome} |"
        for (fault, outcome), (injected, survived) in counts.items()
    ]
    table = "\n".join(["| Fault | injected | survived | Result |", "|---|---:|---:|---|", *rows, "", f"{summary}."])
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise pytest.UsageError(f"{page}: expected the lines {BEGIN} and {END} around the table")
    page.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


class Run:
    """A `foal` command in a separate process that a test can observe and kill; it ignores the given signals."""

    def __init__(self, folder: Path, *arguments: str | Path, ignored: Sequence[signal.Signals] = ()) -> None:
        self.folder = folder
        numbers = " ".join(str(int(number)) for number in ignored)
        self.process = subprocess.Popen(
            [sys.executable, "-c", FOAL_COMMAND, numbers, *map(str, arguments)],
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
        """Send SIGKILL, then wait for all descendants to end."""
        descendants = self.descendants()
        self.process.kill()
        self.out, self.err = self.process.communicate()
        _, alive = psutil.wait_procs(descendants, timeout=30)
        assert not alive, "descendants are still running"

    def descendants(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

    def workers(self) -> list[psutil.Process]:
        """Return the processes of the Dask workers: the children of the fork server."""
        return [process for server in self.fork_servers() for process in _children(server)]

    def fork_servers(self) -> list[psutil.Process]:
        """Return the process from which the workers are forked; none before it is started."""
        with suppress(psutil.NoSuchProcess):
            main = psutil.Process(self.process.pid)
            return [process for process in _children(main) if _is_fork_server(process)]
        return []

    def wait_for(self, condition: Callable[[], object], timeout: float = 120) -> None:
        """Wait until the condition is true or the run has ended."""
        deadline = time.monotonic() + timeout
        while not condition() and self.process.poll() is None:
            assert time.monotonic() < deadline, "timed out"
            time.sleep(0.02)


@pytest.fixture(scope="session")
def start() -> Callable[..., Run]:
    """Start a `foal` command in a folder."""
    return Run


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.children()
    return []


def _is_fork_server(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return any("multiprocessing.forkserver" in argument for argument in process.cmdline())
    return False


def _read_features(features: Path) -> Values:
    """Return the values and valid flags of every utterance by session, stream folder and id."""
    contents: Values = {}
    for path in sorted(features.glob("*/*/*.h5")):
        with ShardReader(path) as shard:
            for row, name in enumerate(shard.ids):
                entry = shard.entry(row)
                key = (path.parent.parent.name, path.parent.name, name)
                contents[key] = (entry.values.tobytes(), entry.valid.tobytes())
    return contents


@pytest.fixture(scope="session")
def read_features() -> Callable[[Path], Values]:
    return _read_features


@pytest.fixture(scope="session")
def finished_shards() -> Callable[[Path], dict[Path, tuple[int, int]]]:
    """List the shards of a folder with inode and modification time, which change when a shard is written again."""

    def shards(features: Path) -> dict[Path, tuple[int, int]]:
        paths = [path for path in features.glob("*/*/*.h5") if not path.name.startswith(".")]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}

    return shards
