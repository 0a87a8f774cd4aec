"""Every example on every page runs, in order, in its own folder, and its output is what the page shows.

A page's blocks:

* ``python`` runs; the value of its last expression is printed as the interpreter would print it.
* ``console`` runs the ``roiextractors`` command and the few others in :data:`SHELL`.
* ``output`` directly below one of these is compared with what it printed; ``...`` matches anything. A block that
  raises prints ``NameOfTheError: message``. A command may fail if the output shows that it does.
* A block with ``:caption: path`` is written to that file. With ``(as written)`` after the path, the file must exist
  and have exactly this content.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import html
import importlib
import inspect
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import roiextractors_core as roi
from roiextractors_core import io as roi_io
from roiextractors_core.registry import hook as hookspecs
from roiextractors_core.registry.registry import default_registry

pytestmark = pytest.mark.tools

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
RUN = ("python", "console")
WRITTEN_ONLY = ("toml", "yaml", "json", "text", "shell", "diff", "output")


def site(name: str) -> Any:
    """Import one of the modules that generate parts of the pages."""
    folder = str(DOCS / "_extensions")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


@dataclass
class Block:
    """One fenced block of a page."""

    line: int
    language: str
    text: str
    options: dict[str, str] = field(default_factory=dict)


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    fence, start, info, lines = "", 0, "", []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        opening = re.match(r"^(`{3,}|~{3,})\s*(.*)$", line)  # colons only group blocks
        if not fence and opening:
            fence, start, info, lines = opening[1], number, opening[2].strip(), []
        elif fence and line.strip() == fence:
            found += made(start, info, lines)
            fence = ""
        elif fence:
            lines.append(line)
    assert not fence, f"{page.name}:{start}: the block is not closed"
    return found


def made(start: int, info: str, lines: list[str]) -> list[Block]:
    language, options = info, {}
    if info.startswith("{"):
        if not info.startswith("{code-block}"):
            return []
        language = info.removeprefix("{code-block}").strip()
        while lines and (option := re.match(r"^:(\w[\w-]*):\s*(.*)$", lines[0])):
            options[option[1]] = option[2]
            lines = lines[1:]
        while lines and not lines[0].strip():
            lines = lines[1:]
    return [Block(start, language, "\n".join(lines) + "\n", options)]


class Run:
    """The examples of one page, with their folder, their namespace and the distributions that they install."""

    def __init__(self, page: Path, folder: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page = page
        self.folder = folder
        self.site = site
        self.monkeypatch = monkeypatch
        self.namespace: dict[str, Any] = {"__name__": f"page_{page.stem}"}
        self.may_fail = False

    def all(self) -> None:
        printed, ran = "", None
        every = blocks(self.page)
        for block, following in zip(every, [*every[1:], Block(0, "", "")], strict=False):
            self.may_fail = following.language == "output" and bool(re.search(r"\bfailed\b|\bfaults\b", following.text))
            where = f"{self.page.relative_to(ROOT)}:{block.line}"
            if "caption" in block.options:
                self.file(block, where)
            elif block.language == "output":
                assert ran is not None, f"{where}: nothing ran above this output"
                compare(block.text, printed, where)
                ran = None
                continue
            if block.language in RUN and "caption" not in block.options:
                assert ran is None or not raised(printed), f"{where}: the block before raised {printed}"
                printed = self.python(block, where) if block.language == "python" else self.console(block, where)
                ran = block
        assert ran is None or not raised(printed), f"{self.page.name}: the last block raised {printed}"

    def file(self, block: Block, where: str) -> None:
        place, _, remark = block.options["caption"].partition(" (")
        path = self.folder / place
        if remark == "as written)":
            assert path.read_text(encoding="utf-8") == block.text, f"{where}: {place} has different content"
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")

    def python(self, block: Block, where: str) -> str:
        tree = ast.parse("\n" * block.line + block.text, str(self.page))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(tree, str(self.page), "exec"), self.namespace)  # noqa: S102 - the page's own example
                if isinstance(last, ast.Expr):
                    code = compile(ast.Expression(last.value), str(self.page), "eval")
                    value = eval(code, self.namespace)  # noqa: S307 - the page's own example
                    if value is not None:
                        print(repr(value))
            except roi.RoiExtractorsError as error:
                printed.write(f"{type(error).__name__}: {error}\n")
        return printed.getvalue()

    def console(self, block: Block, where: str) -> str:
        printed = ""
        for line in filter(None, map(str.strip, block.text.splitlines())):
            command = next((name for name in SHELL if line == name or line.startswith(f"{name} ")), None)
            assert command is not None, f"{where}: unsupported command {line!r}"
            printed += SHELL[command](self, line)
        return printed

    def process(self, words: list[str]) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (self.folder, self.site, ROOT)))}
        environment |= {"PYTHONWARNINGS": "", "NO_COLOR": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider"}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        if (done.returncode not in (0, 2) and not self.may_fail) or "Traceback" in done.stderr:
            pytest.fail(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr

    def roiextractors(self, line: str) -> str:
        return self.process(["-m", "roiextractors_core.cli", *shlex.split(line)[1:]])

    def change_folder(self, line: str) -> str:
        self.folder = self.folder / shlex.split(line)[1]
        self.monkeypatch.chdir(self.folder)
        self.monkeypatch.syspath_prepend(str(self.folder))
        return ""

    def install(self, line: str) -> str:
        """Install the distribution in this folder without its dependencies; requirements that are met are skipped."""
        if shlex.split(line)[-1].partition("[")[0] != ".":
            return ""
        words = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(self.site), "."]
        self.process(words)
        roi.refresh()
        return ""

    def test(self, line: str) -> str:
        return self.process(["-m", "pytest", "-q", *shlex.split(line)[3:]])

    def build(self, line: str) -> str:
        self.process(["-m", "build", "--no-isolation"])
        return "".join(sorted(f"{path.name}\n" for path in (self.folder / "dist").iterdir()))


SHELL: dict[str, Callable[[Run, str], str]] = {
    "roiextractors": Run.roiextractors,
    "cd": Run.change_folder,
    "python -m pip install": Run.install,
    "python -m pytest": Run.test,
    "python -m build": Run.build,
}


def compare(shown: str, printed: str, where: str) -> None:
    printed = re.sub(r"(?<=\ds) \(\d+:\d\d:\d\d\)$", "", printed, flags=re.MULTILINE)  # pytest adds it after a minute
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    checker = doctest.OutputChecker()
    assert checker.check_output(shown, printed, flags), f"{where} shows\n{shown}\nbut got\n{printed}"


def raised(printed: str) -> bool:
    return bool(re.match(r"^\w+(Error|Warning): ", printed))


@pytest.fixture
def run_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Run]]:
    """Run a page in its own folder with its own registry; remove the modules that it imported afterwards."""
    before = set(sys.modules)
    (tmp_path / "site").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(tmp_path / "work"))
    default_registry.cache_clear()

    def run(page: Path) -> Run:
        found = Run(page, tmp_path / "work", tmp_path / "site", monkeypatch)
        found.all()
        return found

    yield run
    default_registry.cache_clear()
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.thorough
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run_in_order(page: Path, run_page: Callable[[Path], Run]) -> None:
    run_page(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_has_a_known_language(page: Path) -> None:
    for block in blocks(page):
        assert block.language in (*RUN, *WRITTEN_ONLY), f"{page.name}:{block.line}: {block.language!r}"
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"^\t", text, re.MULTILINE)
    assert ">>>" not in text


@pytest.mark.thorough
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="sphinx is not installed; requirements-docs.txt names it")
    words = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-b",
        "html",
        str(DOCS),
        str(tmp_path / "html"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in (tmp_path / "html").rglob("*.html")}
    pages = {path: text for path, text in pages.items() if "_static" not in path.parts}
    check_formats(pages[tmp_path / "html" / "gallery.html"])
    check_packages(pages[tmp_path / "html" / "install.html"])
    check_charts(pages[tmp_path / "html" / "performance.html"])
    for path, text in pages.items():
        (description,) = re.findall(
            r'<meta (?:name="description" )?content="([^"]*)"(?: name="description")? ?/>', text
        )
        assert 50 <= len(html.unescape(description)) <= 160, (path.name, description)
        assert not re.search(r'<(?:script|img|source|link rel="stylesheet")[^>]* (?:src|href)="(?:https?:)?//', text), (
            path.name
        )
        bar = text.partition('<ul class="bd-navbar-elements')[2].partition("</ul>")[0]
        assert re.search(r"<a [^>]*>\s*Formats\s*</a>", bar.partition("<button")[0]), path.name
    check_links(pages)


def check_formats(gallery: str) -> None:
    shown = re.sub(r"<[^>]+>", "", gallery)
    for entry in default_registry().catalogue():
        assert entry.spec.title in gallery
        assert f">{entry.plugin}</" in gallery
        assert site("packages").install_command(entry.plugin) in shown
    # Without JavaScript, no row is hidden and nothing waits for a search
    assert " hidden" not in gallery.partition('id="formats-table"')[2].partition("</table>")[0]
    assert "<input" not in gallery.partition("<article")[2].partition("</article>")[0]


def check_packages(install: str) -> None:
    shown = html.unescape(re.sub(r"<[^>]+>", "", install))
    for path in (ROOT / "plugins").glob("*/pyproject.toml"):
        table = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        (row,) = re.findall(
            rf"<tr[^>]*><td[^>]*><p><code[^>]*><span[^>]*>{table['name']}</span>.*?</tr>", install, re.DOTALL
        )
        for text in table["dependencies"]:
            name = re.match(r"[\w.-]+", text)[0]  # type: ignore[index]
            assert name in ("numpy", "roiextractors-core") or f">{name}" in row, (path, name)
    for extra in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]:
        assert f"[{extra}]" in shown


def check_charts(performance: str) -> None:
    for title in ("Opening", "Sequential reading", "One frame", "Memory beyond the result", "Number of pages"):
        section = performance.partition(f"<h2>{title}<")[2] or performance.partition(f"<h3>{title}<")[2]
        section = section.partition("</section>")[0]
        chart, _, folded = section.partition('<details class="rows">')
        assert "<svg" in chart, title
        assert "<title>" in chart, title
        assert folded.count("<tr") > chart.count("<tr"), title


def check_links(pages: dict[Path, str]) -> None:
    """Every link within the pages leads to a file, and to a part of it that exists."""
    names = {path: set(re.findall(r' (?:id|name)="([^"]+)"', text)) for path, text in pages.items()}
    for path, text in pages.items():
        for target in re.findall(r' (?:href|src)="([^"#:?]*(?:\?[^"#]*)?(?:#[^"]*)?)"', text):
            place, _, part = html.unescape(target).partition("#")
            file = (path.parent / place.partition("?")[0]).resolve() if place else path
            assert file.exists(), f"{path.name} links to {target}"
            assert not part or file not in names or part in names[file], f"{path.name} links to {target}"


def test_every_page_describes_itself_to_search_engines() -> None:
    told: dict[str, Path] = {}
    for page in PAGES:
        front = page.read_text(encoding="utf-8").partition("\n---\n")[0]
        match = re.search(r"^myst:\n  html_meta:\n    description: \"?(.+?)\"?$", front, re.MULTILINE)
        assert match, f"{page.name} has no description"
        assert 50 <= len(match[1]) <= 160, (
            f"{page.name}: the description has {len(match[1])} characters, expected 50 to 160"
        )
        assert told.setdefault(match[1], page) == page, f"{page.name} has the description of {told[match[1]].name}"


def test_the_install_line_of_the_first_page_is_that_of_the_readme() -> None:
    pages = [DOCS / "index.md", DOCS / "install.md"]
    line = "python -m pip install -r requirements.txt"
    assert f"    {line}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / "requirements.txt").is_file()
    for page in pages:
        shown = [block.text.strip() for block in blocks(page) if "pip install" in block.text]
        assert shown == [line], page.name


def test_the_command_that_installs_a_plugin_names_everything_of_this_repository_that_it_needs() -> None:
    packages = site("packages")
    assert (
        packages.install_command("roiextractors-scanimage")
        == "python -m pip install . ./plugins/tiff ./plugins/scanimage"
    )
    for name, (folder, table) in packages.projects().items():
        folders = [(ROOT / word).resolve() for word in packages.install_command(name).split()[4:]]
        assert folders[-1] == folder
        for text in table["dependencies"]:
            needed = packages.requirement(text)[0]
            assert needed not in packages.projects() or packages.projects()[needed][0] in folders[:-1], name
    assert packages.install_command("roiextractors-elsewhere") == "python -m pip install roiextractors-elsewhere"


def test_the_page_about_installing_explains_every_extra() -> None:
    packages = site("packages")
    assert set(packages.EXTRAS) == set(packages.projects()["roiextractors-core"][1]["optional-dependencies"])


@pytest.mark.parametrize(
    ("searched", "expected"),
    [
        ("thorlabs", {"thorimage"}),
        ("neurolabware", {"scanbox"}),
        ("zeiss", {"czi"}),
        (".nd2", {"nd2"}),
        ("vidrio", {"scanimage"}),
        ("evident", {"oib", "oif"}),
        ("fiji", {"imagej-roi"}),
    ],
)
def test_a_maker_a_program_or_a_suffix_finds_its_formats(searched: str, expected: set[str]) -> None:
    gallery = site("gallery")
    rows = re.findall(r'data-words="([^"]*)".*?href="#format-([^"]+)"', gallery.table())
    assert len(rows) == len(gallery.declared())
    assert expected <= {name for words, name in rows if searched in html.unescape(words)}
    assert len({name for words, name in rows if searched in html.unescape(words)}) <= len(expected) + 1


def test_pages_link_to_their_source_on_the_host_that_the_project_names() -> None:
    pages = site("site_pages")
    assert (
        pages.edit_url("https://example.org/lab/core.git", "api/io.md")
        == "https://example.org/lab/core/edit/main/docs/api/io.md"
    )
    assert pages.edit_url("", "api/io.md") == ""
    lines, start = inspect.getsourcelines(roi.convert)
    expected = f"https://example.org/lab/core/blob/main/roiextractors_core/interop/convert.py#L{start}-L{start + len(lines) - 1}"
    assert pages.source_url("https://example.org/lab/core", "roiextractors_core", "convert") == expected
    assert pages.source_url("https://example.org/lab/core", "roiextractors_core", "ImagingExtractor.slice_samples")
    assert pages.source_url("https://example.org/lab/core", "roiextractors_core.io", "SIDECAR_KEY") is None
    assert pages.source_url("", "roiextractors_core", "convert") is None


def test_the_rows_of_a_wide_table_carry_the_names_of_its_columns() -> None:
    head = "<thead><tr><th><p>a</p></th><th>b</th><th>c</th></tr></thead>"
    table = f'<table class="table">{head}<tbody><tr><td><p>1</p></td><td><p></p></td><td>3</td></tr></tbody></table>'
    labelled = site("site_pages").label_cells(f"<p>before</p>{table}")
    assert '<table class="stacks table">' in labelled
    assert (
        '<td data-label="a"><p>1</p></td><td data-label="b" class="empty"><p></p></td><td data-label="c">3</td>'
        in labelled
    )
    without_head = table.replace("<th>b</th>", "<th></th>")
    assert site("site_pages").label_cells(without_head) == without_head


def test_a_chart_compares_with_the_best_of_the_other_readers() -> None:
    charts = site("charts")
    rows = [
        ("TIFF, one frame", "1 ms", "os.preadv (limit)", "0.5 ms", "0.50", "", ""),
        ("TIFF, one frame", "1 ms", "tifffile", "2 ms", "2.00", "", ""),
        ("TIFF, one frame", "1 ms", "pims", "1,200 ms", "1,200", "", ""),
        ("raw, one frame", "1 ms", "numpy.memmap", "0.5 ms", "0.50", "", "missed"),
        ("AVI, one frame", "1 ms", "", "", "", "<= 2 ms", ""),
    ]
    bars = charts.fastest_rivals(rows)
    assert [(bar.label, bar.rival, bar.ratio) for bar in bars] == [
        ("TIFF, one frame", "tifffile", 2.0),
        ("raw, one frame", "numpy.memmap", 0.5),
    ]
    assert [bar.label for bar in charts.shortened(bars)] == ["TIFF", "raw"]
    drawn = charts.bar_chart(bars, "faster", "slower", charts.WIDE)
    widths = {kind: float(width) for kind, width in re.findall(r'<rect class="(\w+)".*? width="([\d.]+)"', drawn)}
    assert widths["good"] == pytest.approx(widths["slow"], abs=0.2)  # twice and half as fast
    assert charts.seconds("104 ms (ratio 0.48)") == pytest.approx(0.104)
    assert charts.seconds("") is None


def test_the_page_of_the_hook_shows_its_exact_signature() -> None:
    text = (DOCS / "hook.md").read_text(encoding="utf-8")
    function = hookspecs.roiextractors_formats
    source = f"@hookspec\ndef {function.__name__}{inspect.signature(function)}:"
    assert source.replace("'", "") in text
    assert f'GROUP = "{hookspecs.GROUP}"' in text
    assert f"API_NUMBERS = {hookspecs.API_NUMBERS!r}" in text


def test_the_page_of_the_hook_names_every_field_of_a_declaration() -> None:
    text = (DOCS / "hook.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    declared = list(inspect.signature(roi.FormatSpec).parameters)
    assert [name for name in rows if name in declared] == declared


def test_the_reference_describes_every_public_name() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "api").glob("*.md"))
    described = set(re.findall(r"^\.\. (?:auto\w+|py:\w+):: roiextractors_core\.(\w+)(?![\w.])", text, re.MULTILINE))
    assert described == (set(roi.__all__) - {"__version__"}) | {"errors"}
    described = set(re.findall(r"^\.\. (?:auto\w+|py:\w+):: roiextractors_core\.io\.(\w+)$", text, re.MULTILINE))
    assert described == set(roi_io.__all__) - set(roi.__all__)


def test_the_pictures_have_a_title_a_description_and_no_fixed_text_colours() -> None:
    for picture in DOCS.rglob("*.svg"):
        if "_build" in picture.parts:
            continue
        text = picture.read_text(encoding="utf-8")
        assert "<title" in text, picture.name
        assert "<desc" in text, picture.name
        assert not re.search(r"<text[^>]*fill=.#", text), f"{picture.name}: text takes its colour from the page"


@pytest.mark.thorough
def test_the_wheel_of_the_tutorial_opens_a_file_in_a_process_of_its_own(
    tmp_path: Path, run_page: Callable[[Path], Run]
) -> None:
    run = run_page(DOCS / "write_a_plugin.md")
    (wheel,) = (run.folder / "dist").glob("*.whl")
    fresh = tmp_path / "fresh"
    run.process(["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(fresh), str(wheel)])
    recording = next(run.folder.rglob("*.seq"))
    shutil.copy(recording, tmp_path / "without_suffix")
    code = "import sys, roiextractors_core as roi; print(roi.open(sys.argv[1]).provenance.format)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(fresh), str(ROOT)))}
    words = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "without_suffix")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.stdout == "norpix\n", done.stderr


def test_a_slow_machine_changes_no_shown_output() -> None:
    compare("... passed in ...s\n", "3 passed in 85.57s (0:01:25)\n", "a page")
    compare("... passed in ...s\n", "3 passed in 5.57s\n", "a page")
    with pytest.raises(AssertionError, match="a page shows"):
        compare("... passed in ...s\n", "1 failed, 2 passed in 85.57s (0:01:25) later\n", "a page")
