"""What notebook 06 shows without computing it: encoded texts, accuracies, times and memory.

    python experiments/long_text.py            everything, about 10 minutes on 2 free cores
    python experiments/long_text.py compare    encode the texts, compare the strategies
    python experiments/long_text.py attention  time and memory against length

Writes results/long_text.npz (vectors) and results/long_text.json (all other numbers).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course_utils.long_documents import Embedded

RESULTS = Path(__file__).parent / "results"
KINDS = ("full", "windowed", "online")
LENGTHS = {
    "full": (512, 1024, 2048, 4096, 8192),
    "windowed": (512, 1024, 2048, 4096, 8192, 16384),
    "online": (512, 1024, 2048, 4096, 8192, 16384),
}
SIZE, RADIUS, BLOCK = 64, 64, 256  # key_size and value_size; of windowed attention
CLOCKS = {"seconds": time.perf_counter, "processor": time.process_time}
KEYS, QUERIES = 1024, 1024  # of online attention, in one go
SEEDS = 10


def main(parts: list[str]) -> None:
    """Run the parts (all if none) and put what they found into the file of results."""
    parts = parts or ["compare", "attention"]
    found = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"}
    if "compare" in parts:
        found |= encode_and_compare()
    if "attention" in parts:
        found["attention"] = attention_measured()
    path = RESULTS / "long_text.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | found, indent=1) + "\n")


# ---- strategies ----


def encode_and_compare() -> dict:
    """Encode both sets of texts, ship their vectors, compare all strategies on them."""
    from course_utils import check  # noqa: F401  it sets TensorFlow up
    from course_utils import long_documents as long

    embedded, costs = {}, {}
    for name, texts in {"books": long.books, "constructed": long.constructed}.items():
        token_ids, labels, groups = texts()
        start = time.perf_counter()
        classes = sorted(set(labels))
        numbers = [classes.index(label) for label in labels]
        embedded[name] = long.embed(token_ids, numbers, groups, overlap=name == "books")
        costs[name] = round(time.perf_counter() - start)
        print(name, len(token_ids), "texts encoded in", costs[name], "s", flush=True)
    ship(embedded)
    return {"seconds to encode": costs, "tokens": tokens(embedded["books"]), **compare(embedded)}


def tokens(books: Embedded) -> dict[str, float]:
    """Tokens that each strategy encodes for one text, special ones among them, on average."""
    from course_utils.long_documents import LIMIT, WINDOW

    many = float(books.mask.sum(axis=1).mean()) * WINDOW
    more = float(books.overlapping_mask.sum(axis=1).mean()) * WINDOW
    one = dict.fromkeys(("head", "tail", "head and tail"), WINDOW)
    ways = ("windows, mean", "windows, max", "windows, vote", "attention")
    return {
        **one, "first 510": LIMIT, "mean of vectors": many, **dict.fromkeys(ways, many),
        **dict.fromkeys((f"{way}, overlap" for way in ways), more),
    }  # fmt: skip


def ship(embedded: dict) -> None:
    """The books' overlapping windows are left out: they are two thirds of the file."""
    from course_utils import long_documents as long

    some = embedded["books"]
    small = some._replace(
        overlapping=some.overlapping[:, :0], overlapping_mask=some.overlapping_mask[:, :0]
    )
    long.save(RESULTS / "long_text.npz", embedded | {"books": small})


def compare(embedded: dict) -> dict:
    """Accuracy of each strategy: for each seed on the books; for each place when constructed."""
    from course_utils import long_documents as long

    books, made = embedded["books"], embedded["constructed"]
    by_seed: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        test = long.held_out(books.groups, books.labels, seed)
        for name, right in long.compare_strategies(books, test).items():
            by_seed.setdefault(name, []).append(round(float(right.mean()), 4))
        print("seed", seed, flush=True)
    right = long.find_sentence(made)
    place = made.groups[made.groups != "train"]
    by_place = {
        name: {p: round(float(values[place == p].mean()), 4) for p in long.PLACES}
        for name, values in right.items()
    }
    return {"books": by_seed, "constructed": by_place}


# ---- attention ----


def attention_measured() -> dict[str, list[dict]]:
    """For each kind rows of length, seconds, processor seconds of all cores, and megabytes.

    Memory in a process of its own for each kind, because the highest memory of a process never
    falls; times in one process, in turn.
    """
    times = elsewhere("times")
    memory = {kind: elsewhere("memory", kind) for kind in KINDS}
    return {
        kind: [
            {"length": length, **times[kind][str(length)], "megabytes": megabytes}
            for length, megabytes in zip(LENGTHS[kind], memory[kind], strict=True)
        ]
        for kind in KINDS
    }


def set_up_tensorflow() -> None:
    """Without it, TensorFlow's start fills the screen."""
    from course_utils import check  # noqa: F401


def elsewhere(*arguments: str) -> dict | list:
    """What this script prints in a new process."""
    done = subprocess.run(
        (sys.executable, __file__, *arguments), check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def ways() -> dict:
    """The kinds of attention, a function that makes their inputs, and one that compiles.

    Compiled by tf.function: called line by line, Python's share would be measured too.
    """
    set_up_tensorflow()
    import numpy as np
    import tensorflow as tf

    from course_utils.exercises import long_text, self_attention

    def inputs(length: int) -> list:
        made = np.random.default_rng(0).normal(size=(3, 1, 1, length, SIZE))
        return [tf.constant(x, tf.float32) for x in made]

    def online(q, k, v):
        """Queries do not depend on each other, so they too come in blocks: one after the other."""
        size = min(QUERIES, q.shape[2])
        outputs = tf.map_fn(
            lambda part: long_text.online_softmax_attention(part, k, v, block=KEYS),
            tf.reshape(q, (-1, 1, 1, size, SIZE)),
            parallel_iterations=1,
        )
        return tf.reshape(outputs, q.shape)

    found = {
        "full": lambda q, k, v: self_attention.scaled_dot_product_attention(q, k, v)[0],
        "windowed": lambda q, k, v: long_text.windowed_attention(q, k, v, RADIUS, block=BLOCK),
        "online": online,
        "plain online": long_text.online_softmax_attention,
        "inputs": inputs,
        "compiled": lambda kind, example: tf.function(found[kind]).get_concrete_function(*example),
    }
    return found


def times() -> dict[str, dict[int, dict[str, float]]]:
    """The least seconds of each kind at each length, and the least of all cores' processor time.

    The kinds take turns. On a busy machine the processor time is the one to believe.
    """
    kinds = ways()
    best: dict[str, dict[int, dict[str, float]]] = {kind: {} for kind in KINDS}
    for length in LENGTHS["online"]:
        inputs = kinds["inputs"](length)
        compiled = {kind: kinds["compiled"](kind, inputs) for kind in KINDS
                    if length in LENGTHS[kind]}  # fmt: skip
        for turn in range(6 if length > 4096 else 24):
            for kind in sorted(compiled, reverse=turn % 2):
                start = {name: clock() for name, clock in CLOCKS.items()}
                compiled[kind](*inputs).numpy()
                taken = {name: clock() - start[name] for name, clock in CLOCKS.items()}
                least = best[kind].setdefault(length, taken)
                best[kind][length] = {n: min(t, least[n]) for n, t in taken.items()}
    return best


def memory(kind: str) -> list[float]:
    """The megabytes that one call needs on top of its inputs, for each length, shortest first.

    Not compiled: which parts a compiled function computes at the same time is chance.
    """
    kinds = ways()
    from course_utils.training import release_memory

    call = kinds["plain online"] if kind == "online" else kinds[kind]
    call(*kinds["inputs"](128))  # what the first call loads is not its own
    found = []
    for length in LENGTHS[kind]:
        inputs = kinds["inputs"](length)
        release_memory()  # else the call would take what the one before it has freed
        before = resident()
        call(*inputs)
        found.append(round(max(highest() - before, 0) / 2**20, 1))
    return found


def resident() -> int:
    """Bytes of memory this process holds now. Linux counts them; elsewhere the highest so far."""
    status = Path("/proc/self/status")
    return _field(status, "VmRSS:") if status.exists() else highest()


def highest() -> int:
    """The most bytes this process has held."""
    status = Path("/proc/self/status")
    if status.exists():
        return _field(status, "VmHWM:")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _field(status: Path, name: str) -> int:
    return int(status.read_text().partition(name)[2].split()[0]) * 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["times"]:
        print(json.dumps(times()))
    elif sys.argv[1:2] == ["memory"]:
        print(json.dumps(memory(sys.argv[2])))
    else:
        main(sys.argv[1:])
