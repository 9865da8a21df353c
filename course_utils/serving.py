"""Answer with a fine-tuned BERT classifier without the libraries that trained it.

    python -m course_utils.serving FOLDER TEXT [TEXT …]

needs NumPy, safetensors and tokenizers: no TensorFlow, no transformers, no ktrain. It is the
forward pass of notebooks 03 to 05, in NumPy. `export` writes the folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from math import erf, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

NORM_EPSILON = 1e-12


def export(model: Any, tokenizer: Any, class_names: Sequence[str], folder: Path) -> None:
    """Write a TFBertForSequenceClassification, its fast tokenizer and its classes to a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    arrays = {
        weight.name.split("/", 1)[1].removesuffix(":0"): weight.numpy() for weight in model.weights
    }
    save_file(arrays, Path(folder) / "weights.safetensors")
    tokenizer.backend_tokenizer.save(str(Path(folder) / "tokenizer.json"))
    about = {"classes": list(class_names), "heads": model.config.num_attention_heads}
    (Path(folder) / "about.json").write_text(json.dumps(about), encoding="utf-8")


class Classifier:
    """A model read from a folder that `export` wrote."""

    def __init__(self, folder: Path) -> None:
        self.weights = load_file(Path(folder) / "weights.safetensors")
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.no_padding()
        about = json.loads((Path(folder) / "about.json").read_text(encoding="utf-8"))
        self.classes, self.heads = about["classes"], about["heads"]
        self.tokenizer.enable_truncation(len(self._one("position_embeddings/embeddings")))
        self.layers = sum("attention/self/query/kernel" in name for name in self.weights)

    def scores(self, text: str) -> np.ndarray:
        """The scores (logits) of one text, (classes,). Alone in its batch it needs no mask."""
        ids = self.tokenizer.encode(text).ids
        tables = (
            self._one("word_embeddings/weight")[ids],
            self._one("position_embeddings/embeddings")[: len(ids)],
            self._one("token_type_embeddings/embeddings")[0],
        )
        x = self._norm(sum(tables), "embeddings/LayerNorm")
        for number in range(self.layers):
            x = self._block(x, f"layer_._{number}")
        pooled = np.tanh(self._dense(x[0], "pooler/dense"))
        return self._dense(pooled, "classifier")

    def predict(self, text: str) -> str:
        return self.classes[int(self.scores(text).argmax())]

    def _block(self, x: np.ndarray, layer: str) -> np.ndarray:
        query, key, value = (
            self._heads(self._dense(x, f"{layer}/attention/self/{part}"))
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ value
        merged = mixed.swapaxes(0, 1).reshape(x.shape)
        attended = self._dense(merged, f"{layer}/attention/output/dense")
        x = self._norm(x + attended, f"{layer}/attention/output/LayerNorm")
        inner = _gelu(self._dense(x, f"{layer}/intermediate/dense"))
        outer = self._dense(inner, f"{layer}/output/dense")
        return self._norm(x + outer, f"{layer}/output/LayerNorm")

    def _heads(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), self.heads, -1).swapaxes(0, 1)

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self._one(f"{name}/kernel") + self._one(f"{name}/bias")

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + NORM_EPSILON)
        return scaled * self._one(f"{name}/gamma") + self._one(f"{name}/beta")

    def _one(self, name: str) -> np.ndarray:
        return _ending(self.weights, name)


def _ending(weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """The one array whose name is this, or ends with a slash and this."""
    found = [key for key in weights if key == name or key.endswith(f"/{name}")]
    if len(found) != 1:
        raise KeyError(f"{len(found)} arrays are called {name}")
    return weights[found[0]]


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(erf, otypes=[np.float32])(x / sqrt(2)))


def main(arguments: Sequence[str]) -> None:
    folder, *texts = arguments
    classifier = Classifier(Path(folder))
    for text in texts:
        print(f"{text} -> {classifier.predict(text)}")
    loaded = [name for name in ("ktrain", "transformers", "tensorflow") if name in sys.modules]
    print("of ktrain, transformers and TensorFlow loaded here:", loaded or "none")


if __name__ == "__main__":
    main(sys.argv[1:])
