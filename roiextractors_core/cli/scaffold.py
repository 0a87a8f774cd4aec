"""Writes a complete new plugin, which reads a tiny documented format and passes its tests."""

from __future__ import annotations

import datetime
import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..errors import DeclarationError, listed, printable
from ..io.source import Source, looks_like
from ..registry.registry import default_registry
from ..registry.spec import KINDS
from .opening import PlainCommand

__all__ = ["LICENCES", "register", "write_plugin"]

LICENCES: Mapping[str, str] = {"bsd-3-clause": "BSD-3-Clause", "mit": "MIT", "apache-2.0": "Apache-2.0"}
"""The licences to choose from, and their SPDX identifiers."""

TEMPLATES = Path(__file__).with_name("templates")


def write_plugin(
    name: str,
    *,
    extension: str | None = None,
    signature: str | None = None,
    folder: bool = False,
    channels: bool = False,
    planes: bool = False,
    clock: bool = False,
    writer: bool = False,
    kind: str = "imaging",
    output: str | os.PathLike[str] = ".",
    licence: str = "bsd-3-clause",
) -> tuple[Path, ...]:
    """Write a complete distribution ``roiextractors-<name>`` into a new folder of that name.

    Parameters
    ----------
    name : str
        The format's name: lower-case letters, digits and single hyphens, beginning with a letter.
    extension : str, optional
        The suffix with its dot, ``".xyz"``; needed unless a recording is a folder.
    signature : str, optional
        The first bytes of a file in hexadecimal, at least two; derived from the name by default.
    folder : bool
        Whether a recording is a folder (``header.json`` and ``frames.bin``) rather than one file.
    channels, planes : bool
        Whether a recording has several channels, of which one is chosen, and planes.
    clock : bool
        Whether it has a hardware time for each sample.
    writer : bool
        Whether ``convert`` can write the format.
    kind : str
        ``"imaging"`` or ``"segmentation"``.
    output : str or os.PathLike
        The folder in which the distribution's folder is created.
    licence : str
        ``"bsd-3-clause"``, ``"mit"`` or ``"apache-2.0"``.

    Returns
    -------
    tuple of pathlib.Path
        The files that were written.

    Raises
    ------
    DeclarationError
        The name, extension, signature, kind or licence is not valid, or a file exists already. Nothing is written then.
    """
    if kind not in KINDS:
        raise DeclarationError(f"there is no kind {kind!r:.60}; the kinds are {listed(KINDS)}")
    traits = {"folder": folder, "channels": channels, "planes": planes, "clock": clock, "writer": writer}
    plugin = _Plugin(
        name=_checked_name(name),
        extension=_checked_extension(extension, folder),
        signature=_checked_signature(signature, name, folder),
        kind=kind,
        traits=frozenset(trait for trait, is_there in traits.items() if is_there),
        licence=_checked_licence(licence),
    )
    root = Path(output) / plugin.distribution
    texts = {root / place: text for place, text in plugin.files().items()}
    there = [place for place in plugin.files() if os.path.lexists(root / place)]
    if there:
        raise DeclarationError(
            f"nothing was written: {printable(root)} already contains {listed(there)}; choose another name or another folder (--output)"
        )
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    return tuple(texts)


def register(app: typer.Typer) -> None:
    """Add ``new-plugin`` to the command."""
    app.command("new-plugin", cls=PlainCommand)(new_plugin)


def new_plugin(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The format's name: lower-case letters, digits and hyphens.")
    ],
    extension: Annotated[
        str | None, typer.Option(metavar="SUFFIX", help="The suffix of its files, for example .xyz.")
    ] = None,
    signature: Annotated[
        str | None, typer.Option(metavar="HEX", help="The first bytes of its files, in hexadecimal.")
    ] = None,
    folder: Annotated[bool, typer.Option("--folder", help="A recording of this format is a folder.")] = False,
    channels: Annotated[bool, typer.Option("--channels", help="It has several channels.")] = False,
    planes: Annotated[bool, typer.Option("--planes", help="It has several planes.")] = False,
    clock: Annotated[bool, typer.Option("--clock", help="It has a hardware time for each sample.")] = False,
    writer: Annotated[bool, typer.Option("--writer", help="The plugin also writes the format.")] = False,
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="What the format contains: imaging or segmentation.")
    ] = "imaging",
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Create the plugin's folder in this folder.")] = Path(),
    licence: Annotated[
        str, typer.Option(metavar="LICENCE", help=f"The licence of the plugin: {', '.join(LICENCES)}.")
    ] = "bsd-3-clause",
) -> None:
    """Write a complete new plugin. It reads a tiny documented format, which you replace with yours."""
    written = write_plugin(
        name,
        extension=extension,
        signature=signature,
        folder=folder,
        channels=channels,
        planes=planes,
        clock=clock,
        writer=writer,
        kind=kind,
        output=output,
        licence=licence,
    )
    for path in written:
        print(printable(path.as_posix()))
    root = output / f"roiextractors-{name}"
    print(f"\nnext: cd {printable(root.as_posix())}")
    print('      python -m pip install -e ".[test]"')
    print("      python -m pytest")


@dataclass(frozen=True, slots=True)
class _Plugin:
    """The checked options of a new plugin."""

    name: str
    extension: str
    signature: bytes
    kind: str
    traits: frozenset[str]
    licence: str

    @property
    def distribution(self) -> str:
        return f"roiextractors-{self.name}"

    @property
    def package(self) -> str:
        return self.distribution.replace("-", "_")

    def files(self) -> dict[str, str]:
        """Return the text of every file, by its place in the distribution."""
        kind = "folder" if "folder" in self.traits else "file"
        kind = "rois" if self.kind == "segmentation" else kind
        places = {
            "pyproject.toml": "any/pyproject.toml",
            "README.md": f"{kind}/README.md",
            "CHANGELOG.md": "any/CHANGELOG.md",
            "LICENSE": f"licences/{self.licence}",
            ".gitignore": "any/gitignore",
            ".github/workflows/tests.yml": "any/tests.yml",
            f"{self.package}/__init__.py": "any/init.py",
            f"{self.package}/hooks.py": f"{kind}/hooks.py",
            f"{self.package}/extractor.py": f"{kind}/extractor.py",
            "tests/test_conformance.py": f"{kind}/test_conformance.py",
        }
        if "writer" in self.traits:
            places[f"{self.package}/writer.py"] = f"{kind}/writer.py"
            places["tests/test_writing.py"] = f"{'rois' if kind == 'rois' else 'any'}/test_writing.py"
        words = self._words()
        traits = self.traits | {"extension"} if self.extension else self.traits
        texts = {place: _fill(template, words, traits) for place, template in places.items()}
        return {**texts, f"{self.package}/py.typed": ""}

    def _words(self) -> dict[str, str]:
        parts = [part.capitalize() for part in self.name.split("-")]
        title = " ".join(parts)
        return {
            "DISTRIBUTION": self.distribution,
            "PACKAGE": self.package,
            "FORMAT": self.name,
            "TITLE": title,
            "CLASS": "".join(parts),
            "EXTENSION": self.extension,
            "EXTENSIONS": f'("{self.extension}",)' if self.extension else "()",
            "SPDX": LICENCES[self.licence],
            "YEAR": str(datetime.date.today().year),
            "WHAT": f"channel of a {title} recording" if "channels" in self.traits else f"{title} recording",
            "SAMPLE": "sample" if self.traits & {"channels", "planes"} else "frame",
            "SHAPE": "(24, 48, 64, 3)" if "planes" in self.traits else "(24, 80, 112)",
            "ORDER": self._order(),
            **self._header_words(),
        }

    def _header_words(self) -> dict[str, str]:
        """Return what the header of a file is made of: the signature, and fields at their offsets."""
        counts = [trait for trait in ("channels", "planes") if trait in self.traits]
        fields = ["rows", "columns", "samples", *counts, "rate"]
        places = {field: len(self.signature) + 4 * number for number, field in enumerate(fields)}
        values = {"channels": "1", "planes": "planes"}
        return {
            "SIGNATURE": self.signature.hex(),
            "SIGNATURE_LENGTH": str(len(self.signature)),
            "FIELDS": f"<{len(fields) - 1}Id",
            "FIELD_NAMES": ", ".join(fields),
            "WRITTEN_FIELDS": "".join(f"{values[field]}, " for field in counts),
            "TEST_FIELDS": "".join(f"{field}, " for field in counts),
            **{f"{field.upper()}_AT": str(place) for field, place in places.items()},
            "FRAMES_AT": str(places["rate"] + 8),
        }

    def _order(self) -> str:
        """Return how the pixels follow each other, in words."""
        levels = {"channels": "channel by channel", "planes": "plane by plane"}
        words = [phrase for trait, phrase in levels.items() if trait in self.traits]
        return f"{', '.join(['sample by sample', *words])} and row by row" if words else "frame by frame and row by row"


def _fill(template: str, words: Mapping[str, str], traits: Collection[str]) -> str:
    text = (TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")
    chosen = "".join(_chosen_lines(text.splitlines(keepends=True), traits))
    return re.sub(r"__([A-Z]+(?:_[A-Z]+)*)__", lambda match: words[match[1]], chosen)


def _chosen_lines(lines: Iterable[str], traits: Collection[str]) -> Iterator[str]:
    """Yield the lines of a template between ``%% if``, ``%% elif``, ``%% else`` and ``%% end`` that fit the traits.

    A condition is ``channels and planes``, ``channels or planes`` or ``not channels``.
    """
    branches: list[tuple[bool, bool]] = []  # of each open condition: this branch is taken, one was taken
    for line in lines:
        word, _, condition = line.removeprefix("%% ").strip().partition(" ")
        if not line.startswith("%% "):
            if all(is_taken for is_taken, _ in branches):
                yield line
        elif word == "end":
            branches.pop()
        else:
            was_taken = word != "if" and branches.pop()[1]
            is_taken = not was_taken and (word == "else" or _is_met(condition, traits))
            branches.append((is_taken, was_taken or is_taken))


def _is_met(condition: str, traits: Collection[str]) -> bool:
    if " or " in condition:
        return any(trait in traits for trait in condition.split(" or "))
    return all((word.removeprefix("not ") in traits) != word.startswith("not ") for word in condition.split(" and "))


def _checked_name(name: str) -> str:
    if name.startswith(("roiextractors-", "roiextractors_")):
        raise DeclarationError(f"pass the format's name alone: {name[14:]!r} instead of {name!r}")
    if len(name) > 40 or not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise DeclarationError(
            f"a plugin cannot be called {name!r:.60}; use at most 40 lower-case letters, digits and single hyphens, starting with a letter"
        )
    if name in ("core", "testing"):
        raise DeclarationError(f"the name {name!r} belongs to the core; choose another")
    registry = default_registry()
    taken = {entry.spec.name: entry.plugin for entry in registry.catalogue()}
    taken |= {spec.name: registry.owner(spec.name) for spec in registry.formats()}
    if name in taken:
        raise DeclarationError(f"there is a format {name!r} already, from {taken[name]}; choose another name")
    return name


def _checked_extension(extension: str | None, folder: bool) -> str:
    if extension is None and folder:
        return ""
    if extension is None:
        raise DeclarationError(
            "pass the suffix of the files: --extension .xyz (or --folder if a recording is a folder)"
        )
    if not re.fullmatch(r"(\.[A-Za-z0-9_+-]+)+", extension):
        raise DeclarationError(
            f"the extension {extension!r:.60} is not valid; write a dot, then letters, digits, _, + or -: .xyz"
        )
    return extension.lower()


def _checked_signature(signature: str | None, name: str, folder: bool) -> bytes:
    if signature is None:
        return b"\x89" + name.encode("ascii", "replace").upper()[:7]
    if folder:
        raise DeclarationError("a folder has no first bytes: leave out --signature, or leave out --folder")
    try:
        first_bytes = bytes.fromhex(signature.removeprefix("0x"))
    except ValueError:
        raise DeclarationError(
            f"the signature {signature!r:.80} is not hexadecimal; write two digits per byte: 89584d4f"
        ) from None
    if not 2 <= len(first_bytes) <= 64:
        raise DeclarationError(f"a signature has 2 to 64 bytes, got {len(first_bytes)} in {signature!r:.80}")
    _require_own(first_bytes)
    return first_bytes


def _require_own(signature: bytes) -> None:
    """Refuse the signature of a container that other formats share, and one byte repeated."""
    if len(set(signature)) == 1:
        raise DeclarationError(f"the signature {signature.hex()} is one byte repeated, which many files start with")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "signature"
        path.write_bytes(signature + b"\xff" * 16)
        with Source(path) as source:
            words = looks_like(source)
    if not words.startswith(("bytes that begin", "text")):
        raise DeclarationError(
            f"files that start with {signature.hex()} are {words}, a container of several formats; for such a format, choose another "
            "signature here and declare evidence of its content afterwards (TiffTag, Hdf5Path, ...)"
        )


def _checked_licence(licence: str) -> str:
    if licence.lower() not in LICENCES:
        raise DeclarationError(f"unknown licence {licence!r:.60}; choose one of {listed(LICENCES)}")
    return licence.lower()
