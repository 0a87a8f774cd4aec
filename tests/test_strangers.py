"""Third-party plugins, installed as wheels beside sound ones: whatever they do on import, the others work and the fault is named."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import DeclarationError
from roiextractors_core.registry.evidence import Evidence, Finding, Magic, Probe, Strength
from roiextractors_core.registry.registry import Registry

pytestmark = pytest.mark.thorough

Run = Callable[..., str]

ROOT = Path(__file__).resolve().parents[1]

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
requires-python = ">=3.11"
{more}

[project.entry-points.roiextractors_core]
{package} = "{package}.hooks"

[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""

SOUND = """
from roiextractors_core import FormatSpec, Magic, hookimpl


@hookimpl
def roiextractors_formats():
    yield FormatSpec(
        name="{format}",
        title="{format}",
        extractor="{package}.extractor:Extractor",
        extensions=(".{format}",),
        evidence=Magic({signature!r}),
        api=1,
    )
"""

EXTRACTOR = """
import numpy as np

from roiextractors_core import ImagingExtractor


class Extractor(ImagingExtractor):
    def __init__(self, file_path, *, sampling_frequency=None):
        super().__init__(sampling_frequency=sampling_frequency)

    def get_image_shape(self):
        return 2, 3

    def get_num_samples(self):
        return 4

    def get_series(self, start_sample=None, end_sample=None):
        start, end = self.resolve_range(start_sample, end_sample)
        return np.full((end - start, 2, 3), 7, np.uint16)
"""


def sound(package: str, format: str, signature: bytes) -> dict[str, str]:
    """The modules of a sound plugin."""
    return {
        "hooks": SOUND.format(format=format, package=package, signature=signature),
        "extractor": EXTRACTOR,
    }


def claiming(package: str, format: str, evidence: str, **modules: str) -> dict[str, str]:
    """The modules of a plugin with this evidence for its format."""
    hooks = SOUND.replace("Magic({signature!r})", evidence).replace("Magic, ", "Magic, Name, Probe, ")
    return {"hooks": hooks.format(format=format, package=package), "extractor": EXTRACTOR, **modules}


def strange(before: str, package: str, format: str) -> dict[str, str]:
    """A sound plugin that does something first."""
    modules = sound(package, format, f"{format}!".encode())
    return {**modules, "hooks": before + modules["hooks"]}


WHEELS: dict[str, dict[str, str]] = {
    "aaa-sound": sound("aaa_sound", "first", b"FIRST!"),
    "zzz-sound": sound("zzz_sound", "last", b"LAST!!"),
    "fails-on-import": strange("import a_package_that_is_not_there\n", "fails_on_import", "fails"),
    "raises-on-import": strange("raise ZeroDivisionError('my own fault \\x1b[31m')\n", "raises_on_import", "raises"),
    "exits": strange("import sys\nsys.exit(3)\n", "exits", "exits"),
    "has-a-syntax-error": strange("def (:\n", "has_a_syntax_error", "syntax"),
    "prints": strange("print('hello from a plugin')\n", "prints", "prints"),
    "imports-much": strange("import a_heavy_package\n", "imports_much", "heavy"),
    "takes-the-name-of-another": sound("takes_the_name_of_another", "first", b"OTHER!"),
    "a-name-of-the-projects": sound("a_name_of_the_projects", "tiff", b"II*\0"),
    "raises-in-its-probe": claiming("raises_in_its_probe", "probed", "Probe('raises_in_its_probe.probe:fails')",
                                    probe="def fails(source):\n    raise RuntimeError('my probe')\n"),
    "exits-in-its-probe": claiming("exits_in_its_probe", "exiting", "Probe('exits_in_its_probe.probe:fails')",
                                   probe="import sys\ndef fails(source):\n    print('exiting')\n    sys.exit(1)\n"),
    "answers-nonsense": claiming("answers_nonsense", "nonsense", "Probe('answers_nonsense.probe:fails')",
                                 probe="def fails(source):\n    return 'perhaps'\n"),
    "yields-a-number": {"hooks": "from roiextractors_core import hookimpl\n@hookimpl\ndef roiextractors_formats():\n    yield 42\n"},
    "returns-nothing": {"hooks": "from roiextractors_core import hookimpl\n@hookimpl\ndef roiextractors_formats():\n    pass\n"},
    "raises-halfway": {"hooks": sound("x", "half", b"HALF!!")["hooks"] + "    raise LookupError('halfway')\n"},
    "evidence-of-its-own": claiming("evidence_of_its_own", "own", "Own()").copy(),
    "colours-the-terminal": {"hooks": sound("x", "colour", b"C")["hooks"].replace('title="colour"', 'title="\\x1b[31mred"')},
    "has-no-hook": {"hooks": "x = 1\n"},
}  # fmt: skip
WHEELS["evidence-of-its-own"]["hooks"] = WHEELS["evidence-of-its-own"]["hooks"].replace(
    "@hookimpl",
    "from roiextractors_core.registry.evidence import Evidence\n\n\n"
    "class Own(Evidence):\n    def check(self, source):\n        raise OSError('nothing works')\n\n\n@hookimpl",
    1,
)
FAILING = {
    "fails-on-import": "importing it raised ModuleNotFoundError: No module named 'a_package_that_is_not_there'",
    "raises-on-import": r"importing it raised ZeroDivisionError: my own fault \x1b[31m",
    "exits": "importing it raised SystemExit: 3",
    "has-a-syntax-error": "importing it raised SyntaxError: ",
    "takes-the-name-of-another": "the format name 'first' is already taken",
    "a-name-of-the-projects": "the format name 'tiff' is already taken",
    "yields-a-number": "must yield FormatSpec values, got int: 42",
    "returns-nothing": "its hook 'roiextractors_formats' declares no format",
    "raises-halfway": "raised LookupError: halfway",
    "evidence-of-its-own": "its evidence is of the unknown class evidence_of_its_own.hooks.Own",
    "colours-the-terminal": "title must be text without control characters",
    "has-no-hook": "it has no hook 'roiextractors_formats'",
}


def build(folder: Path, name: str, modules: dict[str, str], *, version: str = "1.2.3", more: str = "") -> Path:
    """Build a wheel as its author would, with hatchling."""
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    package = name.replace("-", "_")
    source = folder / name / package
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("")
    for module, text in modules.items():
        (source / f"{module}.py").write_text(text)
    project = PROJECT.format(name=name, package=package, version=version, more=more)
    (source.parent / "pyproject.toml").write_text(project)
    wheels = folder / "wheels"
    return Path(
        next(iter(builder.WheelBuilder(str(source.parent)).build(directory=str(wheels), versions=["standard"])))
    )


def install(site: Path, *wheels: Path) -> Path:
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target"]
    done = subprocess.run([*command, str(site), *map(str, wheels)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every strange plugin and two sound ones, installed from wheels."""
    folder = tmp_path_factory.mktemp("strangers")
    heavy = folder / "site" / "a_heavy_package"
    heavy.mkdir(parents=True)
    (heavy / "__init__.py").write_text(
        "import importlib, time\nfor k in range(300):\n    importlib.import_module(f'a_heavy_package.part_{k}')\ntime.sleep(1.2)\n"
    )
    for k in range(300):
        (heavy / f"part_{k}.py").write_text("")
    return install(folder / "site", *(build(folder, name, modules) for name, modules in WHEELS.items()))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.first").write_bytes(b"FIRST! and more")
    (folder / "b").write_bytes(b"LAST!! and more")
    (folder / "page.tif").write_bytes(b"II*\0 and no more")
    (folder / "text.txt").write_text("nothing that anybody knows")
    np.save(folder / "movie.npy", np.arange(24, dtype=np.uint16).reshape(4, 2, 3))
    return folder


@pytest.fixture(scope="module")
def seen(site: Path, files: Path, run: Run) -> dict[str, Any]:
    """What a fresh process sees with all of them installed."""
    code = f"""
import json
import roiextractors_core as roi
from pathlib import Path
folder = Path({str(files)!r})
told = {{"plugins": [{{**r.to_dict(), "is_slow": r.is_slow}} for r in roi.plugins()],
        "formats": [s.name for s in roi.formats()]}}
told["best"] = {{}}
for path in sorted(folder.iterdir()):
    found = roi.explain(path)
    json.dumps(found.to_dict())
    told["best"][path.name] = found.best.spec.name if found.best else [m.spec.name for m in found.tied]
told["text"] = str(roi.explain(folder / "text.txt"))
told["sums"] = [int(roi.open(folder / name).get_series().sum()) for name in ("a.first", "b", "movie.npy")]
print("TOLD" + json.dumps(told))
"""
    told: dict[str, Any] = json.loads(run(code, path=(site,)).partition("TOLD")[2])
    return told


def record(seen: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in seen["plugins"] if r["name"] == name)
    return found


@pytest.mark.parametrize("name", FAILING)
def test_a_plugin_that_fails_is_listed_with_its_reason(seen: dict[str, Any], name: str) -> None:
    found = record(seen, name)
    assert found["status"] == "failed"
    assert FAILING[name] in found["reason"]
    assert found["reason"].isprintable()
    assert found["formats"] == []
    assert found["version"] == "1.2.3"


@pytest.mark.parametrize("name", sorted(WHEELS.keys() - FAILING.keys()))
def test_a_plugin_whose_declaration_is_sound_is_there_whatever_else_it_does(seen: dict[str, Any], name: str) -> None:
    assert record(seen, name)["status"] == "ok"
    assert len(record(seen, name)["formats"]) == 1


def test_the_sound_ones_open_their_files_beside_all_of_them(seen: dict[str, Any]) -> None:
    assert seen["sums"] == [7 * 24, 7 * 24, sum(range(24))]
    assert seen["best"]["a.first"] == "first"
    assert seen["best"]["b"] == "last"
    assert seen["best"]["movie.npy"] == "npy"


def test_a_distribution_named_after_its_format_keeps_the_name(seen: dict[str, Any]) -> None:
    pytest.importorskip("roiextractors_tiff", reason="roiextractors-tiff is not installed")
    assert "tiff" in record(seen, "roiextractors-tiff")["formats"]
    assert "roiextractors-tiff" in record(seen, "a-name-of-the-projects")["reason"]


@pytest.fixture(scope="module")
def greedy(tmp_path_factory: pytest.TempPathFactory, site: Path) -> tuple[Path, Path]:
    """Two sites: a plugin that says yes to every file, and all of the others."""
    folder = tmp_path_factory.mktemp("greedy")
    evidence = "Magic(b'no file begins so') | Probe('claims_everything.probe:yes')"
    probe = "def yes(source):\n    return True\n"
    modules = claiming("claims_everything", "everything", evidence, probe=probe)
    return install(folder / "site", build(folder, "claims-everything", modules)), site


def test_a_plugin_that_claims_everything_ties_and_the_error_says_how_to_go_on(
    greedy: tuple[Path, Path], files: Path, run: Run
) -> None:
    code = f"""
import json
import roiextractors_core as roi
path = {str(files / "b")!r}
try:
    roi.open(path)
except roi.AmbiguousFormatError as error:
    message = str(error)
told = [message, [m.spec.name for m in roi.explain(path).tied], int(roi.open(path, format="last").get_series().sum())]
print("TOLD" + json.dumps([*told, roi.explain({str(files / "text.txt")!r}).best.spec.name]))
"""
    message, tied, total, other = json.loads(run(code, path=greedy).partition("TOLD")[2])
    assert "open(..., format='everything')" in message
    assert "ROIEXTRACTORS_PREFER=" in message
    assert "everything (claims-everything): " in message
    assert tied == ["everything", "last"]
    assert (total, other) == (7 * 24, "everything")


@pytest.mark.parametrize(
    ("name", "value"),
    [("ROIEXTRACTORS_BLOCK", "claims-everything"), ("ROIEXTRACTORS_PREFER", "first>everything,last>everything")],
)
def test_a_plugin_that_claims_everything_can_be_blocked_or_come_last(
    greedy: tuple[Path, Path], files: Path, run: Run, name: str, value: str
) -> None:
    paths = [str(files / name) for name in ("a.first", "b")]
    code = f"import roiextractors_core as roi\nprint([roi.explain(path).best.spec.name for path in {paths}])"
    assert run(code, path=greedy, environment={name: value}).strip().endswith("['first', 'last']")


def test_probes_that_fail_are_unknown_with_their_reason(seen: dict[str, Any]) -> None:
    for words in (
        "the probe raises_in_its_probe.probe:fails raised RuntimeError: my probe",
        "the probe exits_in_its_probe.probe:fails raised SystemExit: 1",
        "the probe answers_nonsense.probe:fails returned str instead of True, False or None",
    ):
        assert words in seen["text"]


def test_a_plugin_that_imports_much_is_named_with_its_weight_and_its_time(seen: dict[str, Any]) -> None:
    found = record(seen, "imports-much")
    assert found["num_modules"] >= 300
    assert found["load_seconds"] >= 1.2
    assert found["is_slow"]
    assert not record(seen, "aaa-sound")["is_slow"]
    assert record(seen, "aaa-sound")["num_modules"] < 10
    assert "imports-much took 1." in seen["text"]


def command(*words: str, site: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("typer", reason="the command needs the extra [cli]")
    return subprocess.run(
        [sys.executable, "-m", "roiextractors_core.cli", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "words", [("plugins",), ("formats",), ("explain", "text.txt"), ("info", "a.first"), ("explain", "movie.npy")]
)
def test_what_a_plugin_prints_does_not_reach_a_commands_json(site: Path, files: Path, words: tuple[str, ...]) -> None:
    done = command(words[0], *(str(files / name) for name in words[1:]), "--json", site=site)
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert "hello from a plugin" in done.stderr


def test_the_command_names_what_is_slow_and_what_failed(site: Path) -> None:
    done = command("plugins", site=site, COLUMNS="300")
    assert done.returncode == 0
    shown = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "(slow)" in shown["imports-much"]
    assert "failed" in shown["exits"]


def test_a_blocked_plugin_is_not_imported_at_all(site: Path, run: Run) -> None:
    blocked = ",".join(name for name in WHEELS if not name.endswith("sound"))
    code = """
import sys, json
import roiextractors_core as roi
names = [s.name for s in roi.formats()]
print(json.dumps([{"first", "last"} <= set(names), sorted(m for m in sys.modules if m.startswith(("exits", "prints", "a_heavy")))]))
"""
    assert json.loads(run(code, path=(site,), environment={"ROIEXTRACTORS_BLOCK": blocked})) == [True, []]


# Ten seconds


@pytest.fixture
def hanging(tmp_path: Path) -> Path:
    modules = strange("import time\ntime.sleep(10)\n", "hangs", "hangs")
    return install(
        tmp_path / "site", build(tmp_path, "hangs", modules), build(tmp_path, "aaa-sound", WHEELS["aaa-sound"])
    )


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_a_plugin_that_hangs_can_be_interrupted_is_named_and_is_left_out_when_blocked(hanging: Path, run: Run) -> None:
    code = """
import json, signal, time
import roiextractors_core as roi
registry = roi.default_registry()
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 1.5)
try:
    roi.formats()
    raise SystemExit("it was not interrupted")
except KeyboardInterrupt:
    pass
registry.block("hangs")
blocked = {r.name: r.status for r in roi.plugins()}
registry.unblock("hangs")
started = time.perf_counter()
found = {r.name: r for r in roi.plugins()}["hangs"]
print(json.dumps([blocked["hangs"], blocked["aaa-sound"], found.status, found.is_slow, found.load_seconds, time.perf_counter() - started]))
"""
    blocked, other, status, is_slow, seconds, took = json.loads(run(code, path=(hanging,)))
    assert (blocked, other, status, is_slow) == ("blocked", "ok", "ok", True)
    assert 10 <= seconds <= took


# Distributions whose own files are damaged


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe\x00garbage", b"[roiextractors_core]\nno equals sign\n", b"[roiextractors_core]\nbad = not a module at all!\n", b"[unclosed\nx = y\n", b"\0" * 64],
    ids=["no text", "no equals sign", "no module", "unclosed", "zeros"],
)  # fmt: skip
def test_entry_points_that_cannot_be_read_do_not_harm_the_others(
    content: bytes, tmp_path: Path, distribution: Callable[..., Path], run: Run
) -> None:
    broken = distribution(tmp_path, "broken", "")
    (tmp_path / f"{broken.name}-1.2.3.dist-info" / "entry_points.txt").write_bytes(content)
    good = sound("good", "good", b"GOOD!!")
    distribution(tmp_path, "good", good["hooks"])
    code = "import roiextractors_core as roi; print('good' in [s.name for s in roi.formats()])"
    assert run(code, path=(tmp_path,)).strip() == "True"


def test_a_distribution_without_metadata_does_not_harm_the_others(
    tmp_path: Path, distribution: Callable[..., Path], run: Run
) -> None:
    distribution(tmp_path, "nameless", sound("nameless", "nameless", b"N!")["hooks"], metadata="")
    distribution(tmp_path, "good", sound("good", "good", b"GOOD!!")["hooks"])
    code = "import roiextractors_core as roi; print('good' in [s.name for s in roi.formats()])"
    assert run(code, path=(tmp_path,)).strip() == "True"


# In one process


class OfItsOwn(Evidence):
    def check(self, source: Any) -> Finding:
        raise OSError("nothing works")


def test_evidence_of_a_strangers_own_kind_is_refused_at_any_depth() -> None:
    registry = Registry(entry_points=lambda: (), environment={})
    for evidence in (OfItsOwn(), Magic(b"x") & OfItsOwn(), Magic(b"x") | (Magic(b"y") & OfItsOwn())):
        with pytest.raises(
            DeclarationError, match=r"the unknown class .*OfItsOwn, but evidence is data; move the code"
        ):
            registry.register(roi.FormatSpec(name="own", title="own", extractor="a.b:C", evidence=evidence))


@pytest.mark.parametrize("key", ["title", "description"])
def test_a_declaration_cannot_hold_what_would_colour_a_terminal(key: str) -> None:
    values = {"name": "x", "title": "x", "extractor": "a.b:C", "extensions": (".x",), key: "\x1b]0;owned\x07"}
    with pytest.raises(DeclarationError, match=f"{key} must be text without control characters"):
        roi.FormatSpec(**values)  # type: ignore[arg-type]


def test_a_preference_comes_before_a_format_that_claims_to_specialize_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy_probe.py").write_text("def yes(source):\n    return True\n")
    monkeypatch.syspath_prepend(tmp_path)
    np.save(tmp_path / "movie.npy", np.zeros((2, 3, 4)))
    registry = Registry(entry_points=lambda: (), environment={})
    evidence = Probe("greedy_probe:yes")
    registry.register(
        roi.FormatSpec(name="greedy", title="Greedy", extractor="a.b:C", evidence=evidence, specializes=("npy",))
    )
    found = roi.explain(tmp_path / "movie.npy", registry=registry)
    assert found.best is not None
    assert found.best.spec.name == "greedy"
    assert [match.strength for match in found.matches] == [Strength.CONTENT, Strength.CONTENT]
    registry.prefer("npy", over="greedy")
    found = roi.explain(tmp_path / "movie.npy", registry=registry)
    assert found.best is not None
    assert found.best.spec.name == "npy"


# Two distributions, one name


class Installed:
    """An entry point of a distribution that is made up."""

    def __init__(self, distribution: str, *formats: str) -> None:
        metadata = {"Name": distribution, "Version": "1.0"}
        self.dist = SimpleNamespace(metadata=metadata)
        self.name, self.value = distribution, f"{distribution}.hooks"
        self._specs = tuple(
            roi.FormatSpec(name=name, title=distribution, extractor="a.b:C", extensions=(f".{name}",))
            for name in formats
        )

    def load(self) -> Any:
        return SimpleNamespace(roiextractors_formats=roi.hookimpl(lambda: self._specs))


@pytest.mark.parametrize(
    ("points", "owners"),
    [
        ([("bbb", "x"), ("aaa", "x")], {"x": "aaa"}),
        ([("aaa", "xyz"), ("roiextractors-xyz", "xyz")], {"xyz": "roiextractors-xyz"}),
        ([("aaa", "xyz"), ("XYZ", "xyz")], {"xyz": "XYZ"}),
        ([("roiextractors-aaa", "scanimage"), ("roiextractors-zzz", "scanimage")], {"scanimage": "roiextractors-aaa"}),
        ([("roiextractors-abc", "abc", "xyz"), ("roiextractors_xyz", "xyz")], {"xyz": "roiextractors_xyz"}),
        ([("aaa", "x", "y"), ("bbb", "y", "z"), ("ccc", "z")], {"x": "aaa", "y": "aaa", "z": "ccc"}),
    ],
)
def test_who_keeps_a_name_depends_on_names_alone(points: list[tuple[str, ...]], owners: dict[str, str]) -> None:
    for order in itertools.permutations(points):
        made = [Installed(*point) for point in order]
        registry = Registry(entry_points=lambda made=made: made, environment={})
        assert {spec.name: registry.owner(spec.name) for spec in registry.formats() if spec.name != "npy"} == owners
        failed = [record for record in registry.plugins() if record.status == "failed"]
        assert all("is already taken" in record.reason and not record.formats for record in failed)
        assert len(failed) == len(points) - len(set(owners.values()))


def test_a_plugin_that_declares_a_name_twice_fails() -> None:
    registry = Registry(entry_points=lambda: [Installed("aaa", "x", "x")], environment={})
    assert [record.reason for record in registry.plugins()][1:] == ["it declares the format name 'x' twice"]
