"""The house stands: imports go down only, importing costs nothing, plugins declare before they import."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tokenize
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "roiextractors_core"
FLOORS = {
    "adapters": 2,
    "errors": 0,
    "files": 1,
    "heaps": 1,
    "source": 1,
    "formats": 1,
    "clock": 1,
    "metadata": 1,
    "choice": 1,
    "companion": 1,
    "chunk_grid": 1,
    "chunks": 1,
    "conversion": 2,
    "labelled": 1,
    "forks": 0,
    "glance": 1,
    "pictures": 1,
    "summary": 1,
    "imaging": 2,
    "hookspecs": 2,
    "composition": 3,
    "arrays": 3,
    "registry": 3,
    "detection": 4,
    "factory": 5,
    "xarray_entrypoint": 6,
    "zarr_chunks": 1,
    "zarr_store": 1,
    "testing": 6,
    "cli": 6,
}
THIRD_PARTY = {
    "adapters": {"numpy"},
    "errors": set(),
    "files": {"numpy"},
    "heaps": {"h5py"},
    "source": set(),
    "formats": set(),
    "clock": {"numpy"},
    "metadata": {"numpy"},
    "choice": set(),
    "companion": {"numpy"},
    "chunk_grid": {"numpy"},
    "chunks": {"numpy", "dask"},
    "conversion": {"numpy", "tifffile", "zarr", "pynwb", "hdmf"},
    "labelled": {"numpy", "xarray"},
    "forks": set(),
    "glance": {"numpy"},
    "pictures": {"numpy", "matplotlib"},
    "summary": {"numpy", "distributed"},
    "imaging": {"numpy"},
    "hookspecs": set(),
    "composition": {"numpy"},
    "arrays": {"numpy"},
    "registry": {"pluggy", "importlib_metadata"},
    "detection": set(),
    "factory": set(),
    "zarr_chunks": {"numpy", "numcodecs"},
    "zarr_store": {"numpy", "zarr"},
}
IO_LIBRARIES = (
    "tifffile",
    "bioio",
    "liffile",
    "aicspylibczi",
    "imagecodecs",
    "h5py",
    "zarr",
    "av",
    "cv2",
    "imageio",
    "isx",
    "nd2",
    "readlif",
    "pynwb",
)


def core_files() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def plugin_files() -> list[Path]:
    return sorted((ROOT / "plugins").glob("*/roiextractors_*/**/*.py"))


def module_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, str, int]]:
    """Each import anywhere in the file as (module of the core, outside package, line); one of the two is empty."""
    package = ("roiextractors_core", *path.relative_to(CORE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from named(tuple(alias.name.split(".")), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            whole = (*base, *(node.module.split(".") if node.module else ()))
            if whole == ("roiextractors_core",):
                for alias in node.names:
                    yield from named((*whole, alias.name), node.lineno)
            else:
                yield from named(whole, node.lineno)


def named(parts: tuple[str, ...], line: int) -> Iterator[tuple[str, str, int]]:
    if parts[0] == "roiextractors_core":
        yield parts[1] if len(parts) > 1 else "", "", line
    elif parts[0] not in sys.stdlib_module_names:
        yield "", parts[0], line


def plain_modules() -> list[Path]:
    return [path for path in core_files() if FLOORS.get(module_of(path), 9) < 6]


def test_every_module_of_the_core_has_a_floor() -> None:
    assert {module_of(path) for path in core_files()} <= {*FLOORS, "__init__"}


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(CORE)))
def test_imports_go_down_only(path: Path) -> None:
    here = module_of(path)
    if here == "__init__":
        return
    for target, _, line in imports(path):
        if target in FLOORS:
            assert FLOORS[target] <= FLOORS[here], f"{path.name}:{line} imports {target} from a floor above"
        elif target and FLOORS[here] < 6:
            assert target == "__version__", f"{path.name}:{line} imports {target} from the roof"


def test_no_two_modules_of_one_floor_import_each_other() -> None:
    below = {
        module_of(path): {target for target, _, _ in imports(path) if target in FLOORS} for path in plain_modules()
    }
    seen: set[str] = set()
    while True:
        free = [name for name in below if name not in seen and below[name] - {name} <= seen]
        if not free:
            break
        seen.update(free)
    assert seen == set(below), f"a circle of imports among {sorted(set(below) - seen)}"


@pytest.mark.parametrize("path", plain_modules(), ids=lambda path: path.stem)
def test_a_module_imports_no_more_packages_than_it_needs(path: Path) -> None:
    seen = {package for _, package, _ in imports(path) if package}
    assert seen <= THIRD_PARTY[path.stem]


@pytest.mark.parametrize("path", [*core_files(), *plugin_files()], ids=lambda path: str(path.relative_to(ROOT)))
class TestEveryFile:
    def test_is_not_a_drawer(self, path: Path) -> None:
        parts = set(path.with_suffix("").parts[len(ROOT.parts) :])
        assert not parts & {"utils", "util", "helpers", "helper", "common", "misc", "tools"}

    def test_opens_with_a_sentence_and_then_all(self, path: Path) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.name == "__main__.py" or (path.name == "__init__.py" and len(tree.body) <= 1):
            assert ast.get_docstring(tree) is not None or not tree.body
            return
        sentence = ast.get_docstring(tree)
        assert sentence, "the module has no docstring"
        assert sentence.splitlines()[0].endswith((".", ":", "::")), "the docstring does not open with a sentence"
        names = [
            t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
        ]
        assert "__all__" in names

    def test_asserts_nothing_outside_tests(self, path: Path) -> None:
        if path.is_relative_to(CORE / "testing"):
            return
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []

    def test_leaves_nothing_to_do(self, path: Path) -> None:
        comments = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
        assert [
            t.start[0] for t in comments if t.type in (tokenize.COMMENT, tokenize.STRING) and words.search(t.string)
        ] == []

    def test_calls_nothing_a_manager_or_a_reader(self, path: Path) -> None:
        words = re.compile(
            r"(^|_|(?<=[a-z]))(handler|manager|helper|util|utils|backend|engine|loader|reader|driver)s?($|_)", re.I
        )
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kinds = ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
        assert [node.name for node in ast.walk(tree) if isinstance(node, kinds) and words.search(node.name)] == []


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
    assert {name for name in seen if name.startswith("roiextractors_core")} == {"roiextractors_core"}


def test_every_name_that_is_offered_is_there() -> None:
    import roiextractors_core as roi

    assert [name for name in roi.__all__ if getattr(roi, name, None) is None] == []
    assert set(dir(roi)) == set(roi.__all__)
    with pytest.raises(AttributeError, match="'roiextractors_core' has no attribute 'nothing'"):
        getattr(roi, "nothing")  # noqa: B009


def test_what_type_checkers_see_is_what_is_offered() -> None:
    tree = ast.parse((CORE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    told |= {node.name for node in block.body if isinstance(node, ast.FunctionDef)}
    told |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}
    import roiextractors_core as roi

    assert told | {"__version__"} == set(roi.__all__)


def test_the_call_formats_survives_the_import_of_the_module_formats(run: Callable[..., str]) -> None:
    code = """
import roiextractors_core as roi
import roiextractors_core.formats
from roiextractors_core import formats
print(roi.formats()[0].name in [spec.name for spec in formats()], roiextractors_core.formats.FormatSpec is roi.FormatSpec)
"""
    assert run(code) == "True True\n"


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
extractors = {{spec.extractor.partition(":")[0] for spec in registry.formats()}} - {{"roiextractors_core.arrays"}}
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
