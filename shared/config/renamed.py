"""Settings keys and command-line options of earlier versions, and what replaced them."""

RENAMED_KEYS = {
    "extract.modalities": "extract.streams",
    "extract.features": "extract.features_dir",
    "extract.workers": "cluster.workers",
    "extract.scheduler": "cluster.scheduler",
    "extract.threads": "cluster.threads",
    "extract.device": "cluster.device",
    "extract.decoders": "extract.decode_threads",
    "extract.store": "extract.dtype",
    "extract.patience": "extract.task_timeout",
    "extract.check_space": "extract.check_disk_space",
    "extract.batch_pictures": "extract.batch_images",
    "extract.face.view": "extract.face.region",
    "extract.face.min_face": "extract.face.min_face_fraction",
    "extract.face.detect_every": "extract.face.detect_stride",
    "train.modalities": "train.streams",
    "train.audio": "train.streams",
    "train.face": "train.streams",
    "train.align": "train.avel",
    "train.match": "train.mem",
    "train.align_weight": "train.avel_weight",
    "train.match_weight": "train.mem_weight",
    "train.patience": "train.early_stopping_patience",
    "train.pool_hz": "train.frame_rate",
    "train.stream": "train.load",
    "train.stream_mb": "train.disk_buffer_mb",
    "train.threads": "cluster.threads",
    "train.device": "cluster.device",
}

_FEATURES_DIR = {"--features": "--features-dir"}
_FRAME_RATE = {"--pool-hz": "--frame-rate"}
_STREAMS = {"--audio": "--streams", "--face": "--streams"}
_ON_DISK = {"--stream": "--on-disk", "--no-stream": "--set train.load=memory"}
RENAMED_OPTIONS = {
    "extract": {**_FEATURES_DIR, "--modalities": "--streams", "--view": "--region", "--store": "--dtype"},
    "import": {"--store": "--dtype"},
    "index": {**_FEATURES_DIR, "--modalities": "--streams", "--key": "--config-hash"},
    "clean": {**_FEATURES_DIR, "--keep": "--keep-config"},
    "verify": _FEATURES_DIR,
    "train": {
        **_FRAME_RATE,
        **_ON_DISK,
        **_STREAMS,
        "--align": "--avel",
        "--no-align": "--no-avel",
        "--match": "--mem",
        "--no-match": "--no-mem",
        "--patience": "--early-stopping-patience",
    },
    "tune": _STREAMS,
    "ablate": {**_FRAME_RATE, **_STREAMS, "--faults": "--deviations"},
    "evaluate": {**_ON_DISK, **_STREAMS},
}
"""The old options of each command, and what replaces them."""
