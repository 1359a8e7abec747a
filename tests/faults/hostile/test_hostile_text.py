"""Manifests and settings that mean harm: each ends in an error of ours or does none, in bounded time and memory."""

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
Made = tuple[str, bytes, bool]
"""A file's name, what is in it, and whether it must be refused (else it may be harmless)."""

SECONDS = 20
MEMORY = 1 << 30

CHILD = f"""
import json, resource, signal, sys, time
from pathlib import Path
from foal.extract.schedule.plan import plan_chunks
from foal.shared.errors import FoalError
from foal.shared.cli.options import settings_from
from foal.shared.manifest import check_inside, read_manifest
from foal.shared.utterance import select_splits, split_folder
assert "torch" not in sys.modules
now = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (now + {MEMORY}, now + {MEMORY}))
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
    print(json.dumps([name, "begun", "", 0]), flush=True)
    signal.alarm({SECONDS})
    began = time.monotonic()
    try:
        use(Path(name))
        what, said = "taken", ""
    except FoalError as error:
        what, said = "refused", str(error)
    except BaseException as error:
        what, said = "lost", f"{{type(error).__name__}}: {{str(error)[:300]}}"
    signal.alarm(0)
    print(json.dumps([name, what, said[:2000], len(said)]), flush=True)
"""

HEADER = "id,corpus,session,speaker,gender,label,audio,video,start,end,crop,transcript,valence"
GOOD = [f"u{n},c,s{n % 2},p{n},F,hap,a/{n}.wav,v/{n}.avi,0.5,1.5,left,good day,2.5" for n in range(8)]
CELLS = dict(zip(HEADER.split(","), GOOD[0].split(","), strict=True))
NUMBERS = (
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
BAD_NUMBERS = set(NUMBERS) - {"1e308", "1e-320", "-0", ""}


def manifest(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def row(**cells: str) -> str:
    quoted = [cell.replace('"', '""') for cell in {**CELLS, **cells}.values()]
    return ",".join(f'"{cell}"' for cell in quoted)


def hostile_cells() -> Iterator[Made]:
    for number in NUMBERS:
        for column in ("start", "end", "valence"):
            refused = number in BAD_NUMBERS or (column == "start" and number == "1e308")
            yield f"number-{column}-{NUMBERS.index(number)}.csv", manifest(row(**{column: number})), refused
    for place, crop in enumerate(("nan,0,1,1", "0,0,1", "0,0,1,1," * 9999, "1e-999,0,1,1", "0,0,inf,1")):
        yield f"crop-{place}.csv", manifest(row(crop=crop)), crop != "1e-999,0,1,1"


def hostile_manifests() -> Iterator[Made]:
    whole = manifest(*GOOD)
    yield "nul.csv", whole.replace(b"good", b"go\0d"), True
    yield "utf16.csv", whole.decode().encode("utf-16"), True
    yield "latin.csv", whole.replace(b"good", "g\u00fct".encode("latin-1")), True
    yield "surrogate.csv", whole.replace(b"good", b"\xed\xa0\x80"), True
    yield "quote.csv", whole.replace(b"good", b'"good', 1), True
    yield "open-quote.csv", whole.replace(b",a/0.wav", b',"a/0.wav'), True
    yield "newline-in-id.csv", manifest(row(id="a\nb"), row(id="a\r\nb"), row(id="a b")), False
    yield "huge-cell.csv", manifest(row(transcript="x" * 50_000_000)), True
    yield "wide.csv", manifest("," * 900_000), True
    yield "wide-header.csv", manifest(*GOOD, header=HEADER + ",x" * 200_000), True
    yield "nonsense.csv", manifest(*["?!" * 8] * 1_000_000), True
    yield "columns.csv", manifest(*["," * 12] * 1_000_000), True
    yield "same-ids.csv", manifest(*[GOOD[0]] * 300_000), True
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


def hostile_yaml() -> Iterator[Made]:
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
    for place, text in enumerate(("=1", "train", "train.epochs=.inf", "extract.face=!!python/name:os.system")):
        yield f"set-{place}.set", text.encode(), True


INSERTED = (b'"', b"\0", b"\n", b"&a *a", b"{[", b"1e999", b"\xff", b", ,")


def mutants(text: bytes, suffix: str, count: int, seed: int) -> Iterator[Made]:
    """Bits turned, bytes cut out, doubled and put in."""
    chance = random.Random(seed)
    for number in range(count):
        content = bytearray(text)
        for _ in range(chance.choice((1, 3, 20))):
            place, length = chance.randrange(len(content)), chance.randrange(1, 30)
            match chance.randrange(5):
                case 0:
                    content[place] ^= 1 << chance.randrange(8)
                case 1:
                    del content[place : place + length]
                case 2:
                    content[place:place] = content[place : place + length] * 3
                case 3:
                    content[place:place] = chance.choice(INSERTED)
                case _:
                    content[place : place + length] = chance.randbytes(length)
            content = content or bytearray(b"x")
        yield f"mutant-{number}{suffix}", bytes(content), False


def outcomes(folder: Path, names: list[str]) -> dict[str, tuple[str, str, int]]:
    """What became of each file in a child process; one that ends it is lost, and the others go into another child."""
    found: dict[str, tuple[str, str, int]] = {}
    while left := [name for name in names if name not in found]:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *left], cwd=folder, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.stdout, done.stderr
        for line in done.stdout.splitlines():
            name, what, said, length = json.loads(line)
            found[name] = (what, said, length)
        if done.returncode:
            slow = done.returncode == -signal.SIGALRM
            found[name] = ("lost", "more than 20 s" if slow else f"killed: {done.returncode} {done.stderr[-300:]}", 0)
    return found


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
    "manifests built to do harm": hostile_manifests,
    "settings files and --set with code, tags or invalid values": hostile_yaml,
    "manifests with bytes changed at random": lambda: mutants(manifest(*GOOD), ".csv", 60, 11),
}


@pytest.mark.sample
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_is_refused_or_does_no_harm(folder: Path, trial: Trial, kind: str) -> None:
    made = list(KINDS[kind]())
    for name, content, _ in made:
        (folder / name).write_bytes(content)
    with trial(kind, "refused with a message, or harmless", count=len(made)):
        found = outcomes(folder, [name for name, _, _ in made])
        assert {name: said for name, (what, said, _) in found.items() if what not in ("taken", "refused")} == {}
        assert [name for name, _, refused in made if refused and found[name][0] != "refused"] == []
        assert {name: length for name, (_, _, length) in found.items() if length > 30_000} == {}
        assert not (folder / "pwned").exists()
        assert "taken" in {found[name][0] for name, _, refused in made if not refused}


@pytest.mark.sample
def test_what_is_no_file_is_not_waited_for(folder: Path, trial: Trial) -> None:
    names = []
    for suffix in (".csv", ".yaml"):
        os.mkfifo(folder / f"pipe{suffix}")
        (folder / f"folder{suffix}").mkdir()
        (folder / f"zero{suffix}").symlink_to("/dev/zero")
        (folder / f"circle{suffix}").symlink_to(f"circle{suffix}")
        (folder / f"nothing{suffix}").symlink_to("nowhere")
        with socket.socket(socket.AF_UNIX) as heard:
            heard.bind(os.path.relpath(folder / f"socket{suffix}"))
        names += [f"{kind}{suffix}" for kind in ("pipe", "folder", "zero", "circle", "nothing", "socket")]
    with trial("a pipe, folder, device or socket as manifest or settings", "refused", count=len(names)):
        found = outcomes(folder, names)
        assert {name: answer for name, answer in found.items() if answer[0] != "refused"} == {}
