"""The architecture holds: the core names no plugin, importing costs nothing, plugins declare before they import.

Which room may import which is checked by import-linter (``lint-imports``; the contracts are in ``pyproject.toml``).
"""

from __future__ import annotations

import ast
import functools
import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "roiextractors_core"
IO_LIBRARIES = (
    *("tifffile", "bioio", "liffile", "aicspylibczi", "imagecodecs", "h5py", "zarr", "av", "cv2", "imageio", "isx"),
    *("nd2", "readlif", "pynwb", "czifile", "pylibCZIrw"),
)


def core_files() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def plugin_files() -> list[Path]:
    return sorted((ROOT / "plugins").glob("*/roiextractors_*/**/*.py"))


@functools.cache
def trees() -> tuple[tuple[str, ast.Module], ...]:
    files = (*core_files(), *plugin_files())
    return tuple((str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))) for path in files)


def test_the_core_names_no_plugin() -> None:
    plugins = "|".join(path.name for path in (ROOT / "plugins").iterdir() if path.is_dir())
    pattern = re.compile(rf"roiextractors[_-]({plugins})\b")
    named = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted(CORE.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.name != "catalogue.json"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert named == []


def test_every_room_says_in_one_sentence_what_belongs_in_it_and_what_is_public() -> None:
    for room in sorted(path.parent for path in CORE.glob("*/__init__.py")):
        tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
        sentence = (ast.get_docstring(tree) or "").split("\n\n")[0]
        assert sentence.endswith("."), room.name
        assert "__all__" in {name.id for node in ast.walk(tree) if isinstance(node, ast.Name) for name in [node]}, (
            room.name
        )


@pytest.mark.thorough
def test_every_module_lists_its_public_names() -> None:
    without = [
        name
        for name, tree in trees()
        if not name.endswith("__main__.py")
        and len(tree.body) > 1
        and "__all__" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    ]
    assert without == []


@pytest.mark.thorough
def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    assert [name for name, _ in trees() if drawers & set(Path(name).with_suffix("").parts)] == []


@pytest.mark.thorough
def test_nothing_is_called_a_manager_or_a_reader() -> None:
    words = re.compile(
        r"(^|_|(?<=[a-z]))(handler|manager|helper|util|utils|backend|engine|loader|reader|driver)s?($|_)", re.I
    )
    kinds = ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
    named = [
        f"{name}:{node.lineno}: {node.name}"
        for name, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, kinds) and words.search(node.name)
    ]
    assert named == []


def hooks_files() -> list[Path]:
    return sorted((ROOT / "plugins").glob("*/roiextractors_*/hooks.py"))


@pytest.mark.parametrize("path", hooks_files(), ids=lambda path: path.parent.name)
def test_what_declares_imports_the_core_and_nothing_else(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert (node.module or "").split(".")[0] in {"roiextractors_core", *sys.stdlib_module_names}
        elif isinstance(node, ast.Import):
            assert all(alias.name.split(".")[0] in sys.stdlib_module_names for alias in node.names)


@pytest.mark.parametrize("path", hooks_files(), ids=lambda path: path.parent.name)
def test_a_plugins_package_is_a_docstring_only(path: Path) -> None:
    tree = ast.parse(path.with_name("__init__.py").read_text(encoding="utf-8"))
    assert len(tree.body) == 1
    assert ast.get_docstring(tree)


def modules_after(run: Callable[..., str], code: str, path: tuple[Path, ...] = ()) -> set[str]:
    printed = run(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))", path=path)
    return set(json.loads(printed.splitlines()[-1]))


def test_importing_the_core_imports_neither_numpy_nor_what_finds_plugins(run: Callable[..., str]) -> None:
    seen = modules_after(run, "import roiextractors_core")
    assert not seen & {
        "numpy",
        "pluggy",
        "importlib_metadata",
        "importlib.metadata",
        "asyncio",
        "inspect",
        *IO_LIBRARIES,
    }
    assert {name for name in seen if name.startswith("roiextractors_core")} == {
        "roiextractors_core",
        "roiextractors_core.errors",
        "roiextractors_core.lazy",
    }


def test_every_name_that_is_offered_is_there() -> None:
    import roiextractors_core as roi

    assert [name for name in roi.__all__ if getattr(roi, name, None) is None] == []
    assert set(dir(roi)) == set(roi.__all__)
    with pytest.raises(AttributeError, match="'roiextractors_core' has no attribute 'nothing'"):
        getattr(roi, "nothing")  # noqa: B009


def test_what_type_checkers_see_is_what_is_offered() -> None:
    tree = ast.parse((CORE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    import roiextractors_core as roi
    from roiextractors_core import errors

    assert seen | {"__version__", *errors.__all__} == set(roi.__all__)


def test_after_discovery_with_every_plugin_no_extractor_and_no_io_library_is_imported(run: Callable[..., str]) -> None:
    points, folders = [], []
    for project in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        told = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        folders.append(project.parent)
        points += list(told.get("entry-points", {}).get("roiextractors_core", {}).items())
    code = f"""
from importlib_metadata import EntryPoint
import roiextractors_core as roi
points = [EntryPoint(name, value, "roiextractors_core") for name, value in {points!r}]
registry = roi.Registry(entry_points=lambda: points, environment={{}})
for record in registry.plugins():
    if record.status != "ok":
        raise SystemExit(f"{{record.name}}: {{record.reason}}")
extractors = {{spec.extractor.partition(":")[0] for spec in registry.formats()}} - {{"roiextractors_core.npy"}}
import sys
if extractors & set(sys.modules):
    raise SystemExit(f"imported: {{sorted(extractors & set(sys.modules))}}")
"""
    seen = modules_after(run, code, tuple(folders))
    assert not seen & set(IO_LIBRARIES)
    assert not {name for name in seen if name.split(".")[0] == "roiextractors_core"} & {"roiextractors_core.cli"}


def test_discovering_what_is_installed_here_imports_no_io_library(run: Callable[..., str]) -> None:
    seen = modules_after(run, "import roiextractors_core as roi; roi.formats(); roi.plugins()")
    assert not seen & set(IO_LIBRARIES)


PROCESS_STATE = re.compile(
    r"catch_warnings|simplefilter|filterwarnings|showwarning *=|redirect_std|\.setLevel\(|logging\.(disable|basicConfig)|sys\.std\w+ *="
    r"|os\.(chdir|environ\[.*\] *=|putenv|umask)|np\.(seterr\(|set_printoptions)|setrecursionlimit|\bseed\(|rc_context|rcParams\["
    r"|locale\.setlocale|signal\.signal\(|setswitchinterval"
)
OWNERS = {  # the command owns its process; the tests for authors run in a process of tests; the others restore
    "roiextractors_core/cli/",
    "roiextractors_core/testing/",
    "roiextractors_core/io/atomic.py",
    "roiextractors_core/io/process_state.py",
}


def test_nothing_that_reads_changes_the_state_of_the_process() -> None:
    for path in (*core_files(), *plugin_files()):
        name = path.relative_to(ROOT).as_posix()
        code = "\n".join(line.partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
        code = re.sub(r"``[^`]*``", "", code)
        if not name.startswith(tuple(OWNERS)) and "/tests/" not in name:
            assert not PROCESS_STATE.findall(code), name


def test_every_distribution_is_built_by_hatchling_and_nothing_else() -> None:
    for path in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        built = tomllib.loads(path.read_text(encoding="utf-8"))["build-system"]
        assert built == {"requires": ["hatchling>=1.24"], "build-backend": "hatchling.build"}, path
