"""Small text models of all families with seeded random weights and trained tokenizers, saved to folders."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

TEXTS = (
    "I put the letter on the table this morning.",
    "No.",
    "They said that the train would leave at nine, and that it would be late again.",
    "Somebody called while you were out.",
    "Naïve café, isn't it?",
    "We could walk down to the harbour again tomorrow",
    "why",
)
POSITIONS = 96
"""Of every model: the most tokens of an input."""

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BLOCKS: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": POSITIONS,
    "vocab_size": 400,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
BEHIND_PAD = {**BLOCKS, "max_position_embeddings": POSITIONS + 2}
CLIP_TEXT = {**BLOCKS, "projection_dim": 16}
CLIP_VISION = {**CLIP_TEXT, "image_size": 32, "patch_size": 16}
DEBERTA = {
    **BLOCKS,
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_buckets": 8,
    "conv_kernel_size": 3,
    "type_vocab_size": 0,
}
MODERN = {**BLOCKS, "cls_token_id": 0, "sep_token_id": 2, "global_attn_every_n_layers": 2, "local_attention": 8}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertModel(BertConfig(**BLOCKS)),
    "roberta": lambda: RobertaModel(RobertaConfig(**BEHIND_PAD, type_vocab_size=1)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**BEHIND_PAD, type_vocab_size=1)),
    "distilbert": lambda: DistilBertModel(
        DistilBertConfig(
            dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=POSITIONS, vocab_size=400,
            pad_token_id=1,
        )
    ),
    "electra": lambda: ElectraModel(ElectraConfig(**BLOCKS, embedding_size=8)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**BEHIND_PAD)),
    "deberta-v2": lambda: DebertaV2Model(DebertaV2Config(**DEBERTA)),
    "albert": lambda: AlbertModel(AlbertConfig(**BLOCKS, embedding_size=8)),
    "modernbert": lambda: ModernBertModel(
        ModernBertConfig(**MODERN)
    ),
    "clip": lambda: CLIPModel(CLIPConfig(text_config=CLIP_TEXT, vision_config=CLIP_VISION, projection_dim=16)),
}  # fmt: skip
KINDS = {"roberta": "bytes", "modernbert": "bytes", "clip": "bytes", "xlm-roberta": "unigram", "albert": "unigram"}
"""The kind of tokenizer by family; the others have WordPiece."""


def save_text_model(folder: Path, family: str, *, padding_side: str = "left") -> Path:
    """Save a small model and its tokenizer, which pads on the left unless told otherwise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MODELS[family]().eval()
    # The random weights of transformers are so small that positions and words hardly matter.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    model.save_pretrained(folder)
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=small_tokenizer(KINDS.get(family, "wordpiece")),
        bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
        padding_side=padding_side,
    )  # fmt: skip
    fast.save_pretrained(folder)
    return folder


def small_tokenizer(kind: str) -> Tokenizer:
    """A tokenizer trained on TEXTS: wordpiece, bytes or unigram."""
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE(unk_token=None))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=380, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
        )
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=100, special_tokens=list(SPECIAL), unk_token="<unk>", show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=150, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    # Files of sentence-transformers often declare both.
    tokenizer.enable_padding(direction="left", pad_id=1, pad_token="<pad>", length=12)
    tokenizer.enable_truncation(6)
    return tokenizer


def make_sentence_encoder(folder: Path, pooling: str = "pooling_mode_mean_tokens", *modules: str) -> Path:
    """Add the files of sentence-transformers."""
    (folder / "1_Pooling").mkdir()
    keys = {"pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_max_tokens"} | {pooling}
    content = {"word_embedding_dimension": 16, **{key: key == pooling for key in sorted(keys)}}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(content))
    kinds = ("Transformer", "Pooling", *modules, "Normalize")
    listed = [{"idx": number, "type": f"sentence_transformers.models.{kind}"} for number, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24}))
    return folder
