"""Time of a text encoder per 1,000 utterances, in batches and one at a time, and how far the results differ.

    python benchmarks/text.py [--utterances 1000] [--device cpu] [--tiny]

Encodes sentences whose lengths are distributed as those of acted dialogs (median 11 words) with a BERT of base size and
seeded random weights, and prints one JSON line.

--tiny: few utterances and a small model.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common.report import check_measured, log, machine
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from foal.extract.text.encoder import EncodedText, TextEncoder
from foal.extract.text.loading import CPU_BATCH_TOKENS, GPU_BATCH_TOKENS
from foal.extract.text.tokens import Tokenizer
from foal.extract.text.transcript import TextInput

WORDS = 1000
MEDIAN_WORDS, SPREAD = 11, 0.8  # of a log-normal distribution
SINGLE_SHARE = 0.1  # of the utterances are also encoded one at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1000, help="number of utterances")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--tiny", action="store_true", help="run in seconds, to test this script")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.utterances = 40
    device = torch.device(arguments.device)
    inputs = sentences(arguments.utterances)
    batches = CPU_BATCH_TOKENS if device.type == "cpu" else GPU_BATCH_TOKENS
    batched = build(device, batches, tiny=arguments.tiny)
    single = build(device, 1, tiny=arguments.tiny)
    batched.encode(inputs[:8])
    together, seconds = timed(lambda: batched.encode(inputs))
    log(f"{len(inputs)} utterances in batches: {seconds:.1f} s")
    few = inputs[: max(1, round(SINGLE_SHARE * len(inputs)))]
    alone, single_seconds = timed(lambda: single.encode(few))
    result = {
        "utterances": len(inputs),
        "tokens": sum(item.tokens for item in together),
        "seconds_per_1000": round(1000 * seconds / len(inputs), 2),
        "single_seconds_per_1000": round(1000 * single_seconds / len(few), 2),
        "largest_relative_difference": max(map(difference, together[: len(few)], alone)),
    }
    check_measured(result, *result)
    print(json.dumps({**result, "device": arguments.device, "threads": torch.get_num_threads(), "machine": machine()}))


def sentences(count: int) -> list[TextInput]:
    """Sentences of random words."""
    random = np.random.default_rng(0)
    lengths = np.exp(random.normal(np.log(MEDIAN_WORDS), SPREAD, count)).clip(1, 100).astype(int)
    return [TextInput(text=" ".join(f"w{word}" for word in random.integers(WORDS, size=length))) for length in lengths]


def build(device: torch.device, batch_tokens: int, *, tiny: bool) -> TextEncoder:
    """A BERT of base size (--tiny: of two layers), one token per word."""
    vocabulary = {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, **{f"w{word}": word + 3 for word in range(WORDS)}}
    backend = Backend(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    small: dict[str, Any] = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
    }
    torch.manual_seed(0)
    return TextEncoder(
        model=BertModel(BertConfig(**(small if tiny else {})), add_pooling_layer=False),
        tokenizer=Tokenizer(backend, longest=512),
        layers="last",
        pool="tokens",
        device=device,
        batch_tokens=batch_tokens,
    )


def timed(run: Callable[[], list[EncodedText]]) -> tuple[list[EncodedText], float]:
    """The result, and the seconds that it took."""
    began = time.perf_counter()
    return run(), time.perf_counter() - began


def difference(one: EncodedText, other: EncodedText) -> float:
    """Relative distance of the features of an utterance."""
    return float(np.linalg.norm(one.values - other.values) / np.linalg.norm(other.values))


if __name__ == "__main__":
    main()
