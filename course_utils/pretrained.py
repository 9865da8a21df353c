"""The real pretrained all-MiniLM-L6-v2's arrays, as the course's weight tuples."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from safetensors import safe_open
from tokenizers import Tokenizer

from course_utils import assets
from course_utils.exercises.multi_head_attention import split_heads
from course_utils.exercises.pretrained_weights import embed_tokens
from course_utils.exercises.self_attention import scaled_dot_product_attention
from course_utils.exercises.transformer_forward import encoder_block
from course_utils.weights import (
    AttentionWeights,
    BlockWeights,
    EmbeddingWeights,
    Linear,
    NormWeights,
    linear,
)

WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"

NUM_LAYERS = 6
NUM_HEADS = 12
HEAD_SIZE = 32  # of keys and of values; 12 heads of 32 make the width of 384
MAX_LENGTH = 512  # rows of the position table
NORM_EPSILON = 1e-12


class MiniLM(NamedTuple):
    """The pretrained model as arrays: what goes before the encoder blocks, and the blocks.

    `tokenizer` cuts text into word pieces; `folder` holds the files, for other libraries.
    """

    embeddings: EmbeddingWeights
    blocks: tuple[BlockWeights, ...]
    tokenizer: Tokenizer
    folder: Path
    key_size: int = HEAD_SIZE
    value_size: int = HEAD_SIZE
    num_heads: int = NUM_HEADS

    def tokenize(self, sentences: list[str]) -> tuple[tf.Tensor, tf.Tensor]:
        """Token ids (batch, length), int32, and mask (batch, length), True = a real token.

        Each sentence gets [CLS] before and [SEP] after it, is cut at 512 tokens, and is padded on
        the right to the longest of the batch.
        """
        encodings = self.tokenizer.encode_batch(sentences)
        token_ids = tf.constant([encoding.ids for encoding in encodings], tf.int32)
        mask = tf.cast([encoding.attention_mask for encoding in encodings], tf.bool)
        return token_ids, mask

    def tokens(self, sentence: str) -> list[str]:
        """The word pieces of one sentence, [CLS] and [SEP] among them."""
        return self.tokenizer.encode(sentence).tokens

    def attention_maps(self, sentence: str) -> np.ndarray:
        """The attention weights of one sentence, (layers, num_heads, query_len, key_len)."""
        token_ids, _ = self.tokenize([sentence])
        hidden = embed_tokens(token_ids, self.embeddings)
        maps = []
        for block in self.blocks:
            query = split_heads(linear(hidden, block.attention.query), self.num_heads)
            key = split_heads(linear(hidden, block.attention.key), self.num_heads)
            _, weights = scaled_dot_product_attention(query, key, key)
            maps.append(weights[0].numpy())
            sizes = (self.key_size, self.value_size, self.num_heads)
            hidden = encoder_block(hidden, *sizes, 0.0, weights=block)
        return np.stack(maps)


@cache
def load_minilm() -> MiniLM:
    """The model, read once in each process. Raises assets.AssetError, which says what to do."""
    folder = assets.find("minilm")
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(MAX_LENGTH)  # the file itself says 128, and pads always to 128
    tokenizer.enable_padding(direction="right", pad_id=0, pad_token="[PAD]")
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        blocks = tuple(_block(file, f"encoder.layer.{i}") for i in range(NUM_LAYERS))
        return MiniLM(_embeddings(file), blocks, tokenizer, folder)


def _embeddings(file: safe_open) -> EmbeddingWeights:
    return EmbeddingWeights(
        token=_tensor(file, "embeddings.word_embeddings.weight"),
        position=_tensor(file, "embeddings.position_embeddings.weight"),
        segment=_tensor(file, "embeddings.token_type_embeddings.weight"),
        norm=_norm(file, "embeddings.LayerNorm"),
    )


def _block(file: safe_open, name: str) -> BlockWeights:
    return BlockWeights(
        attention=AttentionWeights(
            query=_linear(file, f"{name}.attention.self.query"),
            key=_linear(file, f"{name}.attention.self.key"),
            value=_linear(file, f"{name}.attention.self.value"),
            output=_linear(file, f"{name}.attention.output.dense"),
        ),
        attention_norm=_norm(file, f"{name}.attention.output.LayerNorm"),
        feed_forward_in=_linear(file, f"{name}.intermediate.dense"),
        feed_forward_out=_linear(file, f"{name}.output.dense"),
        feed_forward_norm=_norm(file, f"{name}.output.LayerNorm"),
    )


def _linear(file: safe_open, name: str) -> Linear:
    """PyTorch stores a kernel as (out, in); ours are (in, out)."""
    kernel = file.get_tensor(f"{name}.weight").T
    return Linear(tf.constant(kernel), _tensor(file, f"{name}.bias"))


def _norm(file: safe_open, name: str) -> NormWeights:
    return NormWeights(_tensor(file, f"{name}.weight"), _tensor(file, f"{name}.bias"), NORM_EPSILON)


def _tensor(file: safe_open, name: str) -> tf.Tensor:
    return tf.constant(file.get_tensor(name))
