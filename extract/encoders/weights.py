"""Find an encoder's weights and hash them; nothing is loaded here."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...shared.errors import EncoderError
from .opensmile import OPENSMILE, smile_digest, smile_version

RANDOM = "random:"
_MODEL_FILES = ("config.json", "preprocessor_config.json")
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")

TOKENIZER = "tokenizer.json"
_TOKENIZER_FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json")
SENTENCE_FILES = ("sentence_bert_config.json", "modules.json", "1_Pooling/config.json")
"""Files of sentence-transformers: longest input, modules, and how tokens become a sentence vector."""

FACENET_FILES = {
    "vggface2": "20180402-114759-vggface2.pt",
    "casia-webface": "20180408-102900-casia-webface.pt",
}
FACENET_SIZE = 160
"""Side in pixels of the images that InceptionResnetV1 was trained on."""

_FACENET_URL = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9"
_FACENET_SHA256 = {"vggface2": "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b"}
"""Published hashes of the released files; there is none of casia-webface."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of an encoder.

    Attributes:
        name: name or path, as in the settings.
        revision: commit on the hub; "local" for files, "seed N" for random weights, the version of openSMILE.
        digest: SHA-256 of everything that defines the encoder.
        path: file or folder, absolute, because Dask workers may run in another folder; None for random weights,
            which `name` and `seed` define, and for openSMILE, which has none.
        seed: of random weights.
    """

    name: str
    revision: str
    digest: str
    path: Path | None
    seed: int = 0

    @property
    def random(self) -> bool:
        """Whether the weights are random."""
        return self.path is None and not self.opensmile

    @property
    def size(self) -> int:
        """Bytes of the file of the weights; 0 where there is none."""
        if self.path is None:
            return 0
        files = [self.path / name for name in _WEIGHTS] if self.path.is_dir() else [self.path]
        return next((file.stat().st_size for file in files if file.is_file()), 0)

    @property
    def opensmile(self) -> bool:
        """Whether it is a feature set of openSMILE."""
        return self.path is None and self.name.startswith(OPENSMILE)


def find_audio_weights(encoder: str, revision: str, seed: int, *, fetch: bool = True) -> Weights:
    """Find an audio encoder.

    Args:
        encoder: random:tiny, a feature set of openSMILE (opensmile:eGeMAPSv02), a local folder, or a hub name.
        revision: branch, tag or commit on the hub.
        seed: of random weights.
        fetch: download a hub model that is not cached.

    Raises:
        EncoderError: unknown name, incomplete folder, a model that cannot be downloaded (without `fetch`: that is
            not cached), or openSMILE is not installed.
    """
    if encoder.startswith(OPENSMILE):
        installed = smile_version(encoder)
        digest = smile_digest(encoder, installed)
        return Weights(name=encoder, revision=installed, digest=digest, path=None)
    if encoder.startswith(RANDOM):
        return _random_weights(encoder, seed, ("random:tiny",))
    return _find_model(encoder, revision, key="extract.audio.encoder", fetch=fetch)


def find_face_weights(encoder: str, revision: str, seed: int, *, fetch: bool = True) -> Weights:
    """Find a network for faces or images.

    Args:
        encoder: random:tiny, random:facenet, a release of InceptionResnetV1 (vggface2, casia-webface, in torch's cache)
            or a file of its weights, or the folder or hub name of a vision model.
        revision: branch, tag or commit on the hub.
        seed: of random weights.
        fetch: download weights that are not cached.

    Raises:
        EncoderError: as `find_audio_weights`, and for a cached file whose hash is not that of the release.
    """
    if encoder.startswith(RANDOM):
        return _random_weights(encoder, seed, ("random:tiny", "random:facenet"))
    if encoder in FACENET_FILES:
        path = _torch_cache() / FACENET_FILES[encoder]
        if not path.is_file() and fetch:
            _fetch(encoder, path)
        _check_released(encoder, path)
    elif Path(encoder).is_file():
        path = Path(encoder)
    elif Path(encoder).is_dir() or encoder.count("/") == 1:
        return _find_model(encoder, revision, key="extract.face.encoder", fetch=fetch)
    else:
        known = ", ".join((*FACENET_FILES, "random:tiny", "random:facenet"))
        raise EncoderError(
            f"unknown face encoder {encoder!r}: expected {known}, a weight file, the folder of a vision model or its "
            "name on the hub (OWNER/NAME); there is no such file or folder"
        )
    return Weights(name=encoder, revision="local", digest=_hash_files([path]), path=path.absolute())


def find_text_weights(encoder: str, revision: str, seed: int, *, fetch: bool = True) -> Weights:
    """Find a text encoder; its digest covers the files of the tokenizer, too.

    Args:
        encoder: random:tiny, a local folder, or a hub name.
        revision: branch, tag or commit on the hub.
        seed: of random weights.
        fetch: download a hub model that is not cached.

    Raises:
        EncoderError: as `find_audio_weights`, and for a model without tokenizer.json.
    """
    if encoder.startswith(RANDOM):
        return _random_weights(encoder, seed, ("random:tiny",))
    files = (*_MODEL_FILES, *_TOKENIZER_FILES, *SENTENCE_FILES)
    weights = _find_model(encoder, revision, key="extract.text.encoder", fetch=fetch, model_files=files)
    assert weights.path is not None
    if not (weights.path / TOKENIZER).is_file():
        raise EncoderError(
            f"{encoder}: expected {TOKENIZER} beside the weights, got {_listing(weights.path)}; write it once with "
            f"transformers, AutoTokenizer.from_pretrained({encoder!r}).save_pretrained(FOLDER), and give a folder with "
            "it and the model as extract.text.encoder"
        )
    return weights


def _find_model(
    encoder: str, revision: str, *, key: str, fetch: bool, model_files: Sequence[str] = _MODEL_FILES
) -> Weights:
    """Find a transformers model in a folder or on the hub; its digest covers the weights and `model_files`."""
    folder = Path(encoder)
    if folder.is_dir():
        revision = "local"
    else:
        folder, revision = _download(encoder, revision, key, model_files, fetch=fetch)
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
    if weights is None or not (folder / "config.json").is_file():
        raise EncoderError(
            f"{folder}: expected config.json and {' or '.join(_WEIGHTS)}, got {_listing(folder) or 'nothing'}"
        )
    files = [folder / name for name in model_files if (folder / name).is_file()]
    return Weights(name=encoder, revision=revision, digest=_hash_files([*files, weights]), path=folder.absolute())


def _check_released(encoder: str, path: Path) -> None:
    if not path.is_file():
        raise EncoderError(f"{encoder} is not on this machine: there is no {path}")
    wanted = _FACENET_SHA256.get(encoder)
    if wanted is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise EncoderError(
            f"{path}: expected the weights released as {encoder} (SHA-256 {wanted[:16]}...), got another or a "
            f"truncated file ({found[:16]}...); delete it to download it again"
        )


def _random_weights(encoder: str, seed: int, known: tuple[str, ...]) -> Weights:
    if encoder not in known:
        raise EncoderError(f"unknown encoder {encoder!r}: expected {', '.join(known)}, a folder or a hub name")
    digest = hashlib.sha256(json.dumps([encoder, seed]).encode()).hexdigest()
    return Weights(name=encoder, revision=f"seed {seed}", digest=digest, path=None, seed=seed)


def _download(name: str, revision: str, key: str, model_files: Sequence[str], *, fetch: bool) -> tuple[Path, str]:
    """Snapshot of a hub model as a folder, and its commit. Only data is downloaded, no code."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        # Many models have their weights in both formats; the second is downloaded only where the first is missing.
        for weights in _WEIGHTS:
            files = [*model_files, weights]
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=files, local_files_only=not fetch))
            if (folder / weights).is_file():
                break
    except HFValidationError:
        raise EncoderError(f"{name!r} is neither a folder nor the name of a model on the hub") from None
    except Exception as error:
        # Hub, HTTP client and sockets raise their own exceptions, none of them with a remedy.
        if not fetch:
            raise EncoderError(f"{name} (revision {revision}) is not on this machine") from None
        files_wanted = TOKENIZER if TOKENIZER in model_files else "preprocessor_config.json"
        raise EncoderError(
            f"{name} (revision {revision}) could not be downloaded ({type(error).__name__}); "
            f"fetch config.json, {files_wanted} and model.safetensors from https://huggingface.co/{name} "
            f"into a folder and give that folder as {key}"
        ) from None
    return folder, folder.name


def _fetch(encoder: str, path: Path) -> None:
    """Download one of facenet-pytorch's weight files to the place where facenet-pytorch looks for it."""
    from torch.hub import download_url_to_file

    url = f"{_FACENET_URL}/{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(url, str(path), progress=False)
    except OSError as error:
        raise EncoderError(
            f"the weights of {encoder} could not be downloaded ({error}); fetch {url} and put it at {path}, "
            "or give the file's path as extract.face.encoder"
        ) from None


def _torch_cache() -> Path:
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    return Path(home).expanduser() / "checkpoints"


def _hash_files(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() if path.suffix == ".json" else b"weights")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _listing(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8])


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; raises EncoderError if that fails."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EncoderError(f"{path}: expected a JSON file, got one that cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise EncoderError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
