"""The set-up: its lists of packages agree, and whatever goes wrong ends in one clear sentence.

A made-up course with one made-up package stands for the real one, so nothing is downloaded.
"""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import set_up

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("build.lock", "requirements.lock", "weights.lock")
PIN = re.compile(r"([\w.-]+)(?:\[(.*)\])?(==[\w.]+)")  # its name, its extras, its version


def pins(lines: list[str]) -> set[str]:
    """The `name==version` at the start of each line that has one."""
    return {(match[1] + match[3]).lower() for match in map(PIN.match, lines) if match}


def lines_of(name: str) -> list[str]:
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def conda_packages() -> tuple[list, list]:
    """What conda installs, and what pip installs inside it."""
    environment = yaml.safe_load("\n".join(lines_of("environment.yml")))
    *conda, pip = environment["dependencies"]
    return conda, pip["pip"]


# The lists of packages


def test_direct_packages_are_the_same_in_every_list():
    project = tomllib.loads("\n".join(lines_of("pyproject.toml")))["project"]
    direct = set(project["dependencies"])
    assert direct == pins(project["dependencies"]), "every direct package has an exact version"
    assert direct == pins(conda_packages()[1])
    assert direct <= pins(lines_of("requirements.lock"))


def test_conda_takes_the_python_and_the_lock_that_everyone_takes():
    conda, pip = conda_packages()
    assert conda == ["python=3.11", "pip"]
    assert pip[0] == "-r requirements.lock"


def test_a_reason_stands_beside_every_package_in_environment_yml():
    _, listed = "\n".join(lines_of("environment.yml")).split("dependencies:")
    packages = [line for line in listed.splitlines() if re.match(r" +- [\w-]+(=|$| )", line)]
    without = [line for line in packages if not re.search(r" # \w+ \w+", line)]
    assert len(packages) > 15
    assert not [line for line in without if "-r requirements.lock" not in line]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_exact_versions_and_hashes_and_no_address(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    packages = re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    assert "://" not in text and "index" not in text and str(ROOT) not in text
    for package in packages:
        assert re.match(r"[\w.-]+(\[.*\])?==\S+ ", package), package
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package


def test_the_lock_names_the_extras_that_packages_ask_each_other_for():
    """Without them it would install only until one of these packages has a newer version."""
    found = map(PIN.match, lines_of("requirements.lock"))
    locked = {match[1]: set((match[2] or "").split(",")) for match in found if match}
    wanted = {
        (name, extra)
        for asking, extras in locked.items()
        for needed in map(Requirement, needs_of(asking))
        if (name := canonicalize_name(needed.name)) in locked
        if any(needed.marker is None or needed.marker.evaluate({"extra": e}) for e in extras)
        for extra in needed.extras
    }
    assert len(wanted) > 1
    assert {(name, extra) for name, extra in wanted if extra not in locked[name]} == set()


def needs_of(name: str) -> list[str]:
    """What a package says that it needs; nothing, if this machine has no use for it."""
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def test_nothing_that_learners_do_not_need_is_installed():
    names = {pin.split("==")[0] for pin in pins(lines_of("requirements.lock"))}
    assert not {name for name in names if name.startswith(("nvidia", "torch", "triton"))}
    assert "uv" not in names


# What goes wrong before anything is installed


def told(run: subprocess.CompletedProcess, *words: str) -> None:
    """It failed with one line, which holds these words."""
    assert run.returncode == 1, run.stderr
    sentence = run.stderr.strip()
    assert "\n" not in sentence and "Traceback" not in run.stdout
    for word in words:
        assert word in sentence


@pytest.fixture
def run_after(tmp_path):
    """Run a copy of set_up.py after a statement that makes this machine look worse than it is."""
    for name in ("set_up.py", *LOCKS):
        shutil.copy(ROOT / name, tmp_path)

    def run(statement: str) -> subprocess.CompletedProcess:
        start = f"import runpy, shutil, sys; {statement}; "
        command = [sys.executable, "-c", start + "runpy.run_path('set_up.py', None, '__main__')"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    yield run
    assert not (tmp_path / ".venv").exists()


def test_an_old_python_can_read_set_up_py():
    ast.parse((ROOT / "set_up.py").read_text(encoding="utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("version", [(3, 6), (3, 10), (3, 12)])
def test_a_wrong_python_is_refused(run_after, version):
    run = run_after(f"sys.version_info = {version}")
    told(run, "needs Python 3.11", "{}.{}".format(*version), "make lab PYTHON=")


def test_a_python_without_venv_is_told_what_to_install(run_after):
    told(run_after("sys.modules['ensurepip'] = None"), "apt install python3.11-venv")


def test_a_full_disk_is_noticed_before_anything_is_made(run_after):
    told(run_after("shutil._ntuple_diskusage.free = 4.9e9"), "disk is full")


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
@pytest.mark.parametrize("python", ["", "no-such-python"])
def test_make_without_a_python_says_what_to_do(python):
    command = ["make", "lab", f"PYTHON={python}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode
    assert run.stderr.startswith("There is no Python") and "make lab PYTHON=" in run.stderr


# A made-up course, really set up


BUILD_SYSTEM = """
[build-system]
requires = ["build_tool"]
build-backend = "build_tool"
"""
BUILD_TOOL = """
import pathlib, shutil

def build_wheel(folder, *_):
    [wheel] = pathlib.Path().glob("*.whl")
    return pathlib.Path(shutil.copy(wheel, folder)).name
"""


class Course:
    """A folder with set_up.py, the locks, and a package index that is a folder of wheels."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.index = folder / "index"
        self.index.mkdir()
        self.left_over = folder / ".venv/left_over"
        shutil.copy(ROOT / "set_up.py", folder)
        (folder / "course_utils.py").touch()
        self.lock("build.lock", self.add_wheel("build_tool", code=BUILD_TOOL))
        self.lock("requirements.lock", self.add_wheel("made_up") + self.add_source("source_only"))
        self.lock("weights.lock", self.add_wheel("made_up_weights", needs="not-to-be-had"))

    def add_wheel(
        self, name: str, needs: str = "nothing-else; python_version < '3'", code: str = ""
    ) -> str:
        """Put a package into the index; the line of a lock that asks for it."""
        wheel = self.index / f"{name}-1.0-py3-none-any.whl"
        info = f"{name}-1.0.dist-info"
        about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {needs}\n"
        with zipfile.ZipFile(wheel, "w") as files:
            files.writestr(f"{name}.py", code)
            files.writestr(f"{info}/METADATA", about)
            files.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            files.writestr(f"{info}/RECORD", "")
        return self.line(name, wheel)

    def add_source(self, name: str) -> str:
        """Put a package into the index as a source, which is a wheel packed up once more."""
        self.add_wheel(name)
        wheel = self.index / f"{name}-1.0-py3-none-any.whl"
        project = self.folder / "pyproject.toml"
        project.write_text(BUILD_SYSTEM)
        source = self.index / f"{name}-1.0.tar.gz"
        with tarfile.open(source, "w:gz") as files:
            files.add(wheel, f"{name}-1.0/{wheel.name}")
            files.add(project, f"{name}-1.0/{project.name}")
        wheel.unlink()
        return self.line(name, source)

    def line(self, name: str, file: Path) -> str:
        return f"{name}==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"

    def lock(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def set_up(self, **settings: str) -> subprocess.CompletedProcess:
        """Run the set-up with these settings of pip and none of this machine's."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        ours = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "1"}
        settings = settings or {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.index.as_uri()}
        return subprocess.run(
            [sys.executable, "set_up.py"],
            cwd=self.folder,
            env=own | ours | settings,
            capture_output=True,
            text=True,
        )

    def can_import(self, module: str) -> bool:
        """Whether the environment has this module, from another folder."""
        python = self.folder / set_up.PYTHON_IN_VENV.relative_to(ROOT)
        return not subprocess.call([python, "-c", f"import {module}"], cwd=self.index)


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    """Set up once, over what an interrupted set-up left."""
    course = Course(tmp_path_factory.mktemp("course"))
    course.left_over.parent.mkdir()
    course.left_over.touch()
    run = course.set_up()
    assert run.returncode == 0, run.stderr
    return course


@pytest.fixture
def lock(course):
    """The lock of the made-up course, put back after a test has changed it."""
    path = course.folder / "requirements.lock"
    text = path.read_text()
    yield path
    path.write_text(text)


MODULES = ["build_tool", "made_up", "source_only", "made_up_weights", "course_utils"]


@pytest.mark.parametrize("module", MODULES)
def test_all_locks_and_the_course_are_installed(course, module):
    assert course.can_import(module)


def test_a_second_set_up_has_nothing_to_do_and_needs_no_network(course):
    run = course.set_up(PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_a_changed_lock_is_installed(course, lock):
    lock.write_text(lock.read_text() + course.add_wheel("added"))
    assert course.set_up().returncode == 0
    assert course.can_import("added")


def test_what_an_interrupted_set_up_left_is_gone(course):
    assert not course.left_over.exists()


def test_a_file_with_another_hash_is_refused(course, lock):
    lock.write_text(course.add_wheel("forged"))
    course.add_wheel("forged", needs="something")
    told(course.set_up(), "hash differs", "set_up.log")
    assert not course.can_import("forged")


def test_an_unreachable_index_is_named_and_the_environment_stays_usable(course, lock):
    lock.write_text(lock.read_text() + course.add_wheel("out_of_reach"))
    run = course.set_up(PIP_INDEX_URL="http://127.0.0.1:9/simple")
    told(run, "cannot be reached", "network", "set_up.log")
    assert course.can_import("made_up")


def test_a_package_that_the_index_lacks_is_not_blamed_on_the_network(course, lock):
    lock.write_text(f"lacking==1.0 --hash=sha256:{'0' * 64}\n")
    told(course.set_up(), "no version of a package", "Linux")


@pytest.mark.parametrize(
    ("log", "word"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying (Retry(total=4))\nERROR: No matching distribution", "network"),
        ("ReadTimeoutError: Read timed out.", "network"),
    ],
)
def test_a_sign_in_the_log_of_pip_finds_its_remedy(log, word):
    assert word in set_up.remedy(log)


def test_an_unknown_failure_gets_no_invented_remedy():
    assert set_up.remedy("ERROR: something new") == ""


# The moving line


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("Collecting wrapt==2.5.2 (from -r requirements.lock (line 9))", "Collecting wrapt==2.5.2"),
        (
            "  Downloading google_pasta-0.2.0-py3-none-any.whl (57.5 kB)",
            "Downloading google_pasta (57.5 kB)",
        ),
        (
            "Downloading http://mirror.test/a-b/tensorflow-2.20.0-cp311-cp311-any.whl (620.7 MB)",
            "Downloading tensorflow (620.7 MB)",
        ),
        ("  Downloading rich-14.0-py3-none-any.whl.metadata (18 kB)", ""),
        ("Installing collected packages: " + ", ".join(130 * "x"),
         "Installing 130 packages, a minute or two ..."),
        ("Installing collected packages: huggingface-hub", "Installing ..."),
        ("     ---------------------- 57.5/57.5 kB 1.2 MB/s eta 0:00:00", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_moving_line_says_what_takes_long(line, step):
    assert set_up.step(f"{line}\n") == step
