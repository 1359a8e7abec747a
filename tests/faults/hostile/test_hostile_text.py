"""Hostile manifests and settings: each is refused with a FoalError or is harmless, in bounded time and memory."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

Trial = Callable[..., AbstractContextManager[None]]
HostileFile = tuple[str, bytes, bool]
"""File name, content, and whether the file must be refused."""

SECONDS = 20
MEMORY = 1 << 30

CHILD = f"""
import json, resource, signal, sys
from pathlib import Path
from foal.extract.schedule.plan import plan_chunks
from foal.shared.errors import FoalError
from foal.shared.cli.options import settings_from
from foal.shared.manifest import check_inside, read_manifest
from foal.shared.utterance import select_splits, split_folder
assert "torch" not in sys.modules
used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + {MEMORY}, used + {MEMORY}))
signal.signal(signal.SIGALRM, signal.SIG_DFL)

def use(path):
    if path.suffix == ".csv":
        rows = read_manifest(path)
        check_inside(rows, path.parent / "root", path)
        chosen = select_splits(rows, ["all"])
        plan_chunks(chosen, "face", {{row.id: row.seconds or 0.0 for row in chosen}}, chunk_seconds=60)
        [(row.source("audio"), row.source("face"), row.box, split_folder(row.split)) for row in chosen]
    elif path.suffix == ".yaml":
        settings_from(path, [], {{}})
    else:
        settings_from(None, [path.read_text(encoding="utf-8", errors="surrogateescape")], {{}})

for name in sys.argv[1:]:
    print(json.dumps([name, "started", "", 0]), flush=True)
    signal.alarm({SECONDS})
    try:
        use(Path(name))
        result, message = "accepted", ""
    except FoalError as error:
        result, message = "refused", str(error)
    except BaseException as error:
        result, message = "lost", f"{{type(error).__name__}}: {{str(error)[:300]}}"
    signal.alarm(0)
    print(json.dumps([name, result, message[:2000], len(message)]), flush=True)
"""

HEADER = "id,corpus,session,speaker,gender,label,audio,video,start,end,crop,transcript,valence"
VALID_ROWS = [f"u{n},c,s{n % 2},p{n},F,hap,a/{n}.wav,v/{n}.avi,0.5,1.5,left,good day,2.5" for n in range(8)]
VALID_CELLS = dict(zip(HEADER.split(","), VALID_ROWS[0].split(","), strict=True))
NUMBER_TEXTS = (
    "1e999",
    "-1e999",
    "nan",
    "-nan",
    "inf",
    "1e308",
    "1e-320",
    "-0",
    "0x10",
    "1,5",
    "9" * 5000,
    "--1",
    "1e",
    "\u221e",
    "1d5",
    "true",
    "",
)
BAD_NUMBER_TEXTS = set(NUMBER_TEXTS) - {"1e308", "1e-320", "-0", ""}


def manifest(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def row(**cells: str) -> str:
    quoted = [cell.replace('"', '""') for cell in {**VALID_CELLS, **cells}.values()]
    return ",".join(f'"{cell}"' for cell in quoted)


def hostile_cells() -> Iterator[HostileFile]:
    for number in NUMBER_TEXTS:
        for column in ("start", "end", "valence"):
            refused = number in BAD_NUMBER_TEXTS or (column == "start" and number == "1e308")
            yield f"number-{column}-{NUMBER_TEXTS.index(number)}.csv", manifest(row(**{column: number})), refused
    for position, crop in enumerate(("nan,0,1,1", "0,0,1", "0,0,1,1," * 9999, "1e-999,0,1,1", "0,0,inf,1")):
        yield f"crop-{position}.csv", manifest(row(crop=crop)), crop != "1e-999,0,1,1"


def hostile_manifests() -> Iterator[HostileFile]:
    intact = manifest(*VALID_ROWS)
    yield "nul.csv", intact.replace(b"good", b"go\0d"), True
    yield "utf16.csv", intact.decode().encode("utf-16"), True
    yield "latin.csv", intact.replace(b"good", "g\u00fct".encode("latin-1")), True
    yield "surrogate.csv", intact.replace(b"good", b"\xed\xa0\x80"), True
    yield "quote.csv", intact.replace(b"good", b'"good', 1), True
    yield "open-quote.csv", intact.replace(b",a/0.wav", b',"a/0.wav'), True
    yield "newline-in-id.csv", manifest(row(id="a\nb"), row(id="a\r\nb"), row(id="a b")), False
    yield "huge-cell.csv", manifest(row(transcript="x" * 50_000_000)), True
    yield "wide.csv", manifest("," * 900_000), True
    yield "wide-header.csv", manifest(*VALID_ROWS, header=HEADER + ",x" * 200_000), True
    yield "nonsense.csv", manifest(*["?!" * 8] * 1_000_000), True
    yield "columns.csv", manifest(*["," * 12] * 1_000_000), True
    yield "same-ids.csv", manifest(*[VALID_ROWS[0]] * 300_000), True
    yield "empty.csv", b"", True
    yield "spaces.csv", b"\n\n\n" * 100_000, True
    yield "binary.csv", random.Random(1).randbytes(1 << 16), True
    for name, media in (
        ("absolute", "/etc/passwd"),
        ("up", "../../x.wav"),
        ("through", "a/../../x.wav"),
        ("link", "out/x.wav"),
        ("file-link", "there.wav"),
        ("circle", "circle/x.wav"),
        ("link-up", "in/../../x.wav"),
        ("within", "in/x.wav"),
        ("long", "x" * 5000),
        ("dots", "a/../b.wav"),
    ):
        refused = name not in ("within", "long", "dots", "circle")
        yield f"outside-{name}.csv", manifest(row(audio=media), row(id="v", video=media)), refused


def hostile_yaml() -> Iterator[HostileFile]:
    texts = {
        "object": "corpus: !!python/object/apply:os.system ['touch pwned']",
        "name": "corpus: !!python/name:os.system",
        "new": "!!python/object/new:os.system [touch pwned]",
        "tag": "corpus: !thing {}",
        "twice": "train: {epochs: 1}\ntrain: {epochs: 2}",
        "cycle": "&a [*a]",
        "list": "- train",
        "text": "train",
        "quote": "corpus: {root: 'x",
        "alias": "a: *b",
        "inf": "extract: {chunk_seconds: .inf}",
        "nan": "extract: {face: {fps: .nan}}",
        "good": "train: &a {epochs: 3}",
    }
    for name, text in texts.items():
        yield f"{name}.yaml", text.encode(), name != "good"
    yield "utf16.yaml", "train: {}".encode("utf-16"), True
    yield "bytes.yaml", random.Random(2).randbytes(1 << 16), True
    for position, text in enumerate(("=1", "train", "train.epochs=.inf", "extract.face=!!python/name:os.system")):
        yield f"set-{position}.set", text.encode(), True


INSERTED = (b'"', b"\0", b"\n", b"&a *a", b"{[", b"1e999", b"\xff", b", ,")


def mutated_copies(text: bytes, suffix: str, count: int, seed: int) -> Iterator[HostileFile]:
    """Copies of a text with flipped bits, and with deleted, repeated, inserted or random bytes."""
    rng = random.Random(seed)
    for number in range(count):
        content = bytearray(text)
        for _ in range(rng.choice((1, 3, 20))):
            position, length = rng.randrange(len(content)), rng.randrange(1, 30)
            match rng.randrange(5):
                case 0:
                    content[position] ^= 1 << rng.randrange(8)
                case 1:
                    del content[position : position + length]
                case 2:
                    content[position:position] = content[position : position + length] * 3
                case 3:
                    content[position:position] = rng.choice(INSERTED)
                case _:
                    content[position : position + length] = rng.randbytes(length)
            content = content or bytearray(b"x")
        yield f"mutant-{number}{suffix}", bytes(content), False


def read_files(folder: Path, names: list[str]) -> dict[str, tuple[str, str, int]]:
    """Read each file in a child process; a file that ends the child is lost, and a new child reads the others."""
    results: dict[str, tuple[str, str, int]] = {}
    while remaining := [name for name in names if name not in results]:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *remaining],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.stdout, done.stderr
        for line in done.stdout.splitlines():
            name, result, message, length = json.loads(line)
            results[name] = (result, message, length)
        if done.returncode:
            timed_out = done.returncode == -signal.SIGALRM
            reason = "more than 20 s" if timed_out else f"killed: {done.returncode} {done.stderr[-300:]}"
            results[name] = ("lost", reason, 0)
    return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "media" / "in").mkdir(parents=True)
    (folder / "root").symlink_to("media")
    (folder / "media" / "out").symlink_to("/etc")
    (folder / "media" / "there.wav").symlink_to("/etc/hostname")
    (folder / "media" / "circle").symlink_to("circle")
    return folder


KINDS = {
    "invalid numbers and crops in a manifest": hostile_cells,
    "hostile manifests": hostile_manifests,
    "settings files and --set with code, tags or invalid values": hostile_yaml,
    "manifests with random byte changes": lambda: mutated_copies(manifest(*VALID_ROWS), ".csv", 60, 11),
}


@pytest.mark.sample
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_is_refused_or_harmless(folder: Path, trial: Trial, kind: str) -> None:
    files = list(KINDS[kind]())
    for name, content, _ in files:
        (folder / name).write_bytes(content)
    with trial(kind, "refused with a message or harmless", count=len(files)):
        results = read_files(folder, [name for name, _, _ in files])
        assert {
            name: message for name, (result, message, _) in results.items() if result not in ("accepted", "refused")
        } == {}
        assert [name for name, _, refused in files if refused and results[name][0] != "refused"] == []
        assert {name: length for name, (_, _, length) in results.items() if length > 30_000} == {}
        assert not (folder / "pwned").exists()
        assert "accepted" in {results[name][0] for name, _, refused in files if not refused}


@pytest.mark.sample
def test_special_files_are_refused_without_waiting(folder: Path, trial: Trial) -> None:
    names = []
    for suffix in (".csv", ".yaml"):
        os.mkfifo(folder / f"pipe{suffix}")
        (folder / f"folder{suffix}").mkdir()
        (folder / f"zero{suffix}").symlink_to("/dev/zero")
        (folder / f"circle{suffix}").symlink_to(f"circle{suffix}")
        (folder / f"nothing{suffix}").symlink_to("nowhere")
        with socket.socket(socket.AF_UNIX) as unix_socket:
            unix_socket.bind(os.path.relpath(folder / f"socket{suffix}"))
        names += [f"{kind}{suffix}" for kind in ("pipe", "folder", "zero", "circle", "nothing", "socket")]
    with trial(
        "a pipe, folder, device, socket or broken link as a manifest or settings file", "refused", count=len(names)
    ):
        results = read_files(folder, names)
        assert {name: result for name, result in results.items() if result[0] != "refused"} == {}
