"""What files of bad intent come to; the table in docs/hostile_content.md says the same, row by row."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import roiextractors_core as roi
from roiextractors_core.errors import PluginError, RoiExtractorsError, printable
from roiextractors_core.testing.fuzzing import Seed, seeds_of_tests

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).resolve().parents[1]
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMB += "]>"
OUTSIDE = '<!DOCTYPE x [<!ENTITY i SYSTEM "file:///etc/hostname">]>'
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.place)!r}, 'w').close()",))


@contextlib.contextmanager
def bounded(*, seconds: float = 5.0, memory: int = 256 << 20) -> Iterator[None]:
    """Let what is inside take so much time and memory, and no more."""
    limit = contextlib.nullcontext()
    if sys.platform == "linux":
        limit = _memory(memory + (32 << 20))
    # The processor's time counts, since other programs take turns; a wait without an end shows in the clock
    started, began = time.monotonic(), time.process_time()
    with limit:
        yield
    assert time.process_time() - began < seconds
    assert time.monotonic() - started < 20 * seconds


@contextlib.contextmanager
def _memory(more: int) -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refused(path: Any, words: str, **options: Any) -> str:
    """Open, and read if it opens; return the message of the error of our own that must come."""
    with bounded(), warnings.catch_warnings(), pytest.raises(RoiExtractorsError, match=words) as caught:
        warnings.simplefilter("ignore")
        with roi.open(path, **options) as recording:
            recording.get_series(0, 1)
    assert type(caught.value).__name__ != "PluginError"
    assert str(caught.value) == printable(str(caught.value))
    return str(caught.value)


@pytest.fixture(scope="session")
def conformance(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Seed]:
    """Return a recording that the conformance tests of a plugin make: the plugin's name and that of a class."""
    kept: dict[str, list[Seed]] = {}

    def found(plugin: str, name: str) -> Seed:
        pytest.importorskip(f"roiextractors_{plugin}")
        if plugin not in kept:
            tests = sorted((ROOT / "plugins" / plugin / "tests").glob("test_*.py"))
            makers = [path for path in tests if "ImagingExtractorTests" in path.read_text(encoding="utf-8")]
            kept[plugin] = seeds_of_tests(makers, tmp_path_factory.mktemp("conformance") / plugin)
        return next(seed for seed in kept[plugin] if seed.name.endswith(f"_{name}"))

    return found


@pytest.fixture
def copy_of(conformance: Callable[[str, str], Seed], tmp_path: Path) -> Callable[[str, str], Any]:
    """Return a copy of such a recording: ``folder``, what to ``open``, and the ``options``."""

    def copied(plugin: str, name: str) -> Any:
        seed = conformance(plugin, name)
        folder = tmp_path / "copy"
        shutil.copytree(seed.folder, folder)
        return SimpleNamespace(
            folder=folder, open=seed.opened_as(folder), options=dict(seed.options), format=seed.format
        )

    return copied


def change(path: Path, old: str | bytes, new: str | bytes, count: int = 1) -> None:
    content = path.read_bytes()
    old, new = (text.encode() if isinstance(text, str) else text for text in (old, new))
    assert old in content
    path.write_bytes(content.replace(old, new, count))


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.rglob(pattern))[0]


# Code in files


def test_pickle_in_npy(tmp_path: Path) -> None:
    array = np.array([Touch(tmp_path / "touched")] * 8, dtype=object).reshape(2, 2, 2)
    np.save(tmp_path / "movie.npy", array, allow_pickle=True)
    refused(tmp_path / "movie.npy", "could run code")
    assert not (tmp_path / "touched").exists()


def test_pickle_in_sima(tmp_path: Path) -> None:
    folder = tmp_path / "data.sima"
    folder.mkdir()
    for name in ("dataset.pkl", "sequences.pkl"):
        (folder / name).write_bytes(pickle.dumps(Touch(tmp_path / "touched"), protocol=2))
    refused(folder, "could not identify|not installed")
    refused(folder / "dataset.pkl", "could not identify|not installed")
    for key in ("rois.pkl", "signals_0.pkl"):
        (folder / key).write_bytes(pickle.dumps({"num_sequences": Touch(tmp_path / "touched")}, protocol=2))
        (folder / "dataset.pkl").write_bytes(pickle.dumps({"num_sequences": 1, "channel_names": ["a"]}, protocol=2))
        with pytest.raises(RoiExtractorsError, match=r"it was not imported|could not identify|not installed"):
            roi.open(folder, kind="segmentation")
    roi.explain(folder)
    assert not (tmp_path / "touched").exists()


def test_pickle_in_suite2p(copy_of: Callable[..., Any], tmp_path: Path) -> None:
    copy = copy_of("suite2p", "TestItsDescription")
    for path in copy.folder.rglob("ops.npy"):
        np.save(path, np.array({"Ly": 96, "Lx": 128, "nframes": Touch(tmp_path / "touched")}), allow_pickle=True)
    with contextlib.suppress(RoiExtractorsError), bounded():
        roi.open(copy.open, **copy.options).close()
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("place", ["filters", "compressor"])
def test_pickle_in_zarr(tmp_path: Path, place: str) -> None:
    pytest.importorskip("roiextractors_omezarr")
    image = zarr_image(tmp_path / "image.zarr", shape=(2, 4, 4), chunks=(1, 4, 4))
    facts = json.loads((image / "0" / ".zarray").read_text())
    facts[place] = [{"id": "pickle"}] if place == "filters" else {"id": "pickle"}
    (image / "0" / ".zarray").write_text(json.dumps(facts))
    (image / "0" / "0.0.0").write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    refused(image, "pickle")
    assert not (tmp_path / "touched").exists()


def zarr_image(folder: Path, *, shape: tuple[int, ...], chunks: tuple[int, ...], path: str = "0", **more: Any) -> Path:
    """Write an OME-Zarr image of version 0.4 by hand, without a chunk."""
    axes = [{"name": name, "type": kind} for name, kind in (("t", "time"), ("y", "space"), ("x", "space"))]
    (folder / "0").mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    described = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": [{"path": path}]}]}
    (folder / ".zattrs").write_text(json.dumps(described))
    array = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": "<u2", "fill_value": 0, "order": "C"}
    (folder / "0" / ".zarray").write_text(json.dumps({**array, "filters": None, "compressor": None, **more}))
    return folder


# XML


def xml_recording(kind: str, copy_of: Callable[..., Any], tmp_path: Path, doctype: str, entity: str) -> Any:
    """Return a recording whose XML declares entities and uses one."""
    if kind == "bruker":
        copy = copy_of("bruker", "TestOneFrameAFile")
        xml = scan_xml(copy.folder)
        change(xml, "<PVScan", f"{doctype}<PVScan")
        change(xml, '<PVScan version="', f'<PVScan version="{entity}')
        return copy.open
    if kind == "thorimage":
        copy = copy_of("thorimage", "TestRawWithTimes")
        xml = one(copy.folder, "Experiment.xml")
        change(xml, "<ThorImageExperiment>", f"{doctype}<ThorImageExperiment>")
        change(xml, 'name="mouse"', f'name="{entity}"')
        return copy.open
    pytest.importorskip("roiextractors_ometiff")
    return ome_tiff(tmp_path, xml=ome_xml("movie.ome.tif", name=entity).replace("<OME", f"{doctype}<OME", 1))


def scan_xml(folder: Path) -> Path:
    return next(path for path in sorted(folder.rglob("*.xml")) if b"<Sequence" in path.read_bytes())


def ome_xml(file: str, *, name: str = "a", size_t: int = 3) -> str:
    return (
        f'<?xml version="1.0"?><OME xmlns="{NAMESPACE}"><Image ID="Image:0" Name="{name}"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYZCT" Type="uint16" SizeX="8" SizeY="6" SizeZ="1" SizeC="1" SizeT="{size_t}">'
        + "".join(
            f'<TiffData IFD="{k}" FirstT="{k}" PlaneCount="1"><UUID FileName="{file}">urn:uuid:0</UUID></TiffData>'
            for k in range(min(size_t, 3))
        )
        + "</Pixels></Image></OME>"
    )


def ome_tiff(folder: Path, *, xml: str, name: str = "movie.ome.tif") -> Path:
    """Write three pages with this text as the first one's description."""
    pages = np.arange(3 * 6 * 8, dtype="<u2").reshape(3, 6, 8)
    (folder / name).write_bytes(tiff(pages, xml.encode()))
    return folder / name


def tiff(pages: np.ndarray, text: bytes = b"", **tags: tuple[int, int, int, int]) -> bytes:
    """A little-endian TIFF; ``tags`` replace entries of every page, as ``t256=(256, 4, 1, 10**9)``."""
    text += b"\0"
    content = b"II*\0" + struct.pack("<I", 8)
    for number, page in enumerate(pages):
        at = len(content)
        own = {
            256: (256, 4, 1, page.shape[1]),
            257: (257, 4, 1, page.shape[0]),
            258: (258, 3, 1, 16),
            259: (259, 3, 1, 1),
            262: (262, 3, 1, 1),
            270: (270, 2, max(5, len(text)), at + 2 + 11 * 12 + 4),
            273: (273, 4, 1, at + 2 + 11 * 12 + 4 + max(5, len(text))),
            277: (277, 3, 1, 1),
            278: (278, 4, 1, page.shape[0]),
            279: (279, 4, 1, page.nbytes),
            339: (339, 3, 1, 1),
        }
        own.update({tag[0]: tag for tag in tags.values()})
        end = at + 2 + 11 * 12 + 4 + max(5, len(text)) + page.nbytes
        table = b"".join(struct.pack("<HHII", *own[code]) for code in sorted(own))
        content += struct.pack("<H", 11) + table + struct.pack("<I", 0 if number == len(pages) - 1 else end)
        content += text.ljust(5, b"\0") + page.astype("<u2").tobytes()
    return content


@pytest.mark.parametrize("kind", ["bruker", "thorimage", "ometiff"])
def test_xml_entity_bomb(kind: str, copy_of: Callable[..., Any], tmp_path: Path) -> None:
    refused(xml_recording(kind, copy_of, tmp_path, BOMB, "&i;"), "DOCTYPE", format=kind)


@pytest.mark.parametrize("kind", ["bruker", "thorimage", "ometiff"])
def test_xml_entity_from_another_file(kind: str, copy_of: Callable[..., Any], tmp_path: Path) -> None:
    words = refused(xml_recording(kind, copy_of, tmp_path, OUTSIDE, "x"), "DOCTYPE", format=kind)
    assert Path("/etc/hostname").read_text().strip() not in words.replace(str(tmp_path), "")


@pytest.mark.parametrize("kind", ["bruker", "thorimage", "ometiff"])
def test_xml_doctype_in_detection(kind: str, copy_of: Callable[..., Any], tmp_path: Path) -> None:
    source = xml_recording(kind, copy_of, tmp_path, BOMB, "&i;")
    with bounded():
        text = str(roi.explain(source))
        for xml in Path(source).parent.rglob("*.xml"):
            text += str(roi.explain(xml))
    assert "aaaaaaaaaa" not in text


def test_xml_prolog_without_an_end(tmp_path: Path) -> None:
    (tmp_path / "scan.xml").write_text('<?xml version="1.0"?>' + "<!-- -->" * 5000 + "<?a?>" * 500 + "!")
    with bounded():
        roi.explain(tmp_path / "scan.xml")
        with pytest.raises(RoiExtractorsError):
            roi.open(tmp_path / "scan.xml")


@pytest.mark.parametrize("kind", ["bruker", "thorimage"])
def test_xml_nested_without_end(kind: str, copy_of: Callable[..., Any], tmp_path: Path) -> None:
    copy = copy_of(kind, {"bruker": "TestOneFrameAFile", "thorimage": "TestRawWithTimes"}[kind])
    root = {"bruker": b"<PVScan", "thorimage": b"<ThorImageExperiment"}[kind]
    xml = scan_xml(copy.folder) if kind == "bruker" else one(copy.folder, "Experiment.xml")
    end = xml.read_bytes().index(b">", xml.read_bytes().index(root)) + 1
    xml.write_bytes(xml.read_bytes()[:end] + b"<a>" * 300_000)
    with bounded():
        roi.explain(copy.open)
    refused(
        copy.open,
        "is damaged|no PVScan XML|XML elements|the end of the XML",
        format=kind,
        **copy.options,
    )


# Names that climb out of the folder


@pytest.mark.parametrize("name", ["../secret.tif", "/etc/hostname", "..\\secret.tif", "a/../../secret.tif"])
def test_ome_file_name_outside(tmp_path: Path, name: str) -> None:
    pytest.importorskip("roiextractors_ometiff")
    (tmp_path / "in").mkdir()
    secret = np.full((3, 6, 8), 777, "<u2")
    (tmp_path / "secret.tif").write_bytes(tiff(secret))
    path = ome_tiff(tmp_path / "in", xml=ome_xml(name))
    _never_shows_the_secret(path)


def _never_shows_the_secret(path: Any, **options: Any) -> None:
    """A file outside is refused in words or passed over, and its pixels (777) are not shown."""
    series = _series_or_refusal(path, **options)
    assert series is None or not (series == 777).any()


def _series_or_refusal(path: Any, **options: Any) -> np.ndarray | None:
    """Return the pixels, or None where an error of our own refuses them; any other error is raised."""
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with roi.open(path, **options) as recording:
                return np.asarray(recording.get_series())
        except PluginError:
            raise
        except RoiExtractorsError:
            return None


@pytest.mark.parametrize("name", ["../secret.tif", "/{outside}/secret.tif", "..\\secret.tif"])
def test_bruker_file_outside(copy_of: Callable[..., Any], tmp_path: Path, name: str) -> None:
    copy = copy_of("bruker", "TestOneFrameAFile")
    xml = scan_xml(copy.folder)
    (copy.folder / "secret.tif").write_bytes(tiff(np.full((1, 96, 128), 777, "<u2")))
    text = xml.read_text(encoding="utf-8")
    first = re.search(r'filename="([^"]*)"', text)
    assert first is not None
    change(xml, first[1], name.replace("{outside}", str(copy.folder).strip("/")))
    words = refused(copy.open, ".", **copy.options)
    assert "777" not in words


@pytest.mark.parametrize("name", ["../secret.tif", "{outside}/secret.tif"])
def test_nwb_external_file_outside(tmp_path: Path, name: str) -> None:
    pytest.importorskip("roiextractors_nwb")
    h5py = pytest.importorskip("h5py")
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.tif").write_bytes(tiff(np.full((3, 6, 8), 777, "<u2")))
    with h5py.File(tmp_path / "in" / "session.nwb", "w") as file:
        nwb_series(file, h5py, external=[name.replace("{outside}", str(tmp_path))])
    _never_shows_the_secret(tmp_path / "in" / "session.nwb")


def nwb_series(file: Any, h5py: Any, *, external: list[str] | None = None) -> Any:
    """Write as much of NWB 2 as one series needs; return its group."""
    file.attrs.update({"namespace": "core", "neurodata_type": "NWBFile", "nwb_version": "2.7.0"})
    series = file.create_group("acquisition/Movie")
    series.attrs.update({"namespace": "core", "neurodata_type": "TwoPhotonSeries"})
    start = series.create_dataset("starting_time", data=0.0)
    start.attrs.update({"rate": 10.0, "unit": "seconds"})
    if external is not None:
        data = series.create_dataset("external_file", data=external, dtype=h5py.string_dtype())
        data.attrs["starting_frame"] = np.zeros(len(external), np.int64)
        series.create_dataset("format", data="external")
    return series


@pytest.mark.parametrize("name", ["../secret.tif", "/{outside}/secret.tif"])
def test_ndtiff_index_outside(copy_of: Callable[..., Any], name: str) -> None:
    copy = copy_of("micromanager", "TestNDTiffMovie")
    index = one(copy.folder, "NDTiff.index")
    own = next(p.name for p in sorted(index.parent.glob("*.tif")))
    shutil.copyfile(index.parent / own, copy.folder / "secret.tif")
    new = name.replace("{outside}", str(copy.folder).strip("/")).encode()
    old = own.encode()
    change(index, struct.pack("<I", len(old)) + old, struct.pack("<I", len(new)) + new, -1)
    refused(copy.open, ".", **copy.options)


@pytest.mark.parametrize("path", ["../other/0", "/0", "a/../../other/0"])
def test_zarr_path_outside(tmp_path: Path, path: str) -> None:
    pytest.importorskip("roiextractors_omezarr")
    zarr_image(tmp_path / "other", shape=(2, 4, 4), chunks=(1, 4, 4))
    image = zarr_image(tmp_path / "image.zarr", shape=(2, 4, 4), chunks=(1, 4, 4), path=path)
    refused(image, "expected a path inside the image")


def test_video_playlist(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_video")
    (tmp_path / "secret.ts").write_bytes(b"G" * 188 * 10)
    playlist = "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nsecret.ts\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    (tmp_path / "movie.mp4").write_text(playlist)
    refused(tmp_path / "movie.mp4", ".")
    refused(tmp_path / "movie.mp4", "cannot be opened", format="video")
    (tmp_path / "movie.mov").write_text("ffconcat version 1.0\nfile secret.ts\n")
    refused(tmp_path / "movie.mov", "cannot be opened", format="video")


@pytest.mark.parametrize("told", ["..\\\\secret.oif.files", "/secret.oif.files", "..", "."])
def test_oif_folder_outside(told: str, copy_of: Callable[..., Any]) -> None:
    copy = copy_of("olympus", "TestFolderOfTwoChannels")
    folder = one(copy.folder, "*.oif.files")
    folder.rename(copy.folder.parent / "secret.oif.files")
    settings = one(copy.folder, "*.oif")
    change(settings, "m.oif.files".encode("utf-16-le"), told.replace("\\\\", "\\").encode("utf-16-le"))
    refused(settings, "which does not exist", **copy.options)


# Links


def test_hdf5_external_link(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_hdf5")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["movie"] = np.full((5, 6, 8), 777, "u2")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file["movie"] = h5py.ExternalLink("secret.h5", "/movie")
    refused(tmp_path / "movie.h5", ".")
    refused(tmp_path / "movie.h5", ".", format="hdf5", dataset="movie")


def test_hdf5_external_storage(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_hdf5")
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret.raw").write_bytes(np.full((5, 6, 8), 777, "u2").tobytes())
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file.create_dataset("movie", (5, 6, 8), "u2", external=[(str(tmp_path / "secret.raw"), 0, 480)])
    _never_shows_the_secret(tmp_path / "movie.h5", format="hdf5")


def test_hdf5_virtual_dataset(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_hdf5")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["movie"] = np.full((5, 6, 8), 777, "u2")
    layout = h5py.VirtualLayout((5, 6, 8), "u2")
    layout[...] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "movie", (5, 6, 8))
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file.create_virtual_dataset("movie", layout)
    _never_shows_the_secret(tmp_path / "movie.h5", format="hdf5")


def test_hdf5_links_in_a_circle(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_hdf5")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file["a"] = h5py.SoftLink("/b")
        file["b"] = h5py.SoftLink("/a")
        group = file.create_group("g")
        group["self"] = group
        group["root"] = file["/"]
    refused(tmp_path / "movie.h5", ".")
    refused(tmp_path / "movie.h5", ".", format="hdf5")


@pytest.mark.parametrize("kind", ["link", "storage"])
def test_nwb_hdf5_outside(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("roiextractors_nwb")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["movie"] = np.full((5, 6, 8), 777, "u2")
    (tmp_path / "secret.raw").write_bytes(np.full((5, 6, 8), 777, "u2").tobytes())
    with h5py.File(tmp_path / "session.nwb", "w") as file:
        series = nwb_series(file, h5py)
        if kind == "link":
            series["data"] = h5py.ExternalLink("secret.h5", "/movie")
        else:
            series.create_dataset("data", (5, 6, 8), "u2", external=[(str(tmp_path / "secret.raw"), 0, 480)])
    _never_shows_the_secret(tmp_path / "session.nwb")


def test_symbolic_link_to_a_recording(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    expected = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    np.save(tmp_path / "store" / "0a1b2c", expected)
    (tmp_path / "movie.npy").symlink_to(tmp_path / "store" / "0a1b2c.npy")
    with roi.open(tmp_path / "movie.npy") as recording:
        np.testing.assert_array_equal(recording.get_series(), expected)


def test_symbolic_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to(tmp_path / "b.tif")
    (tmp_path / "b.tif").symlink_to(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", ".")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "again").symlink_to(folder, target_is_directory=True)
    refused(folder, ".")


@pytest.mark.parametrize("target", ["/dev/zero", "fifo"])
def test_symbolic_link_to_a_device(tmp_path: Path, target: str, copy_of: Callable[..., Any]) -> None:
    if target == "fifo":
        if not hasattr(os, "mkfifo"):
            pytest.skip("this system has no named pipes")
        os.mkfifo(tmp_path / "fifo")
        target = str(tmp_path / "fifo")
    (tmp_path / "movie.tif").symlink_to(target)
    refused(tmp_path / "movie.tif", ".")
    copy = copy_of("bruker", "TestOneFrameAFile")
    for pattern in ("*.env", "*.tif", "*.xml"):
        for path in sorted(copy.folder.rglob(pattern))[:3]:
            path.unlink()
            path.symlink_to(target)
            with bounded(), contextlib.suppress(RoiExtractorsError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with roi.open(copy.open, **copy.options) as recording:
                    recording.get_series(0, 2)


# Numbers that claim too much


def zeros_packed(count: int) -> bytes:
    """Compress ``count`` zeros, a multiple of 1 MiB, without having them in memory: the same packed MiB again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    one_more = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = struct.pack(">I", (count % 65521) << 16 | 1)
    return b"\x78\xda" + one_more * (count >> 20) + packer.flush() + checksum


def test_zeros_are_packed_as_zlib_packs_them() -> None:
    assert zlib.decompress(zeros_packed(3 << 20)) == bytes(3 << 20)
    assert len(zeros_packed(GIB)) < 2 << 20


GIB = 1 << 30


def test_deflate_bomb_in_tiff(tmp_path: Path) -> None:
    bomb = zeros_packed(GIB)
    page = np.frombuffer(bomb[: len(bomb) // 2 * 2], "<u2")[None, None]
    page = np.concatenate([page, np.zeros((1, 1, 1), "<u2")], axis=2)
    content = tiff(page, t256=(256, 4, 1, 64), t257=(257, 4, 1, 64), t259=(259, 3, 1, 8), t278=(278, 4, 1, 64))
    (tmp_path / "movie.tif").write_bytes(content)
    _bounded_read(tmp_path / "movie.tif", shape=(1, 64, 64))


def _bounded_read(path: Any, *, shape: tuple[int, ...], **options: Any) -> None:
    """What decodes to far more than was declared is refused, or cut to what was declared."""
    series = _series_or_refusal(path, **options)
    assert series is None or series.shape == shape


def test_deflate_bomb_in_hdf5(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_hdf5")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        data = file.create_dataset("movie", (3, 64, 64), "u2", chunks=(1, 64, 64), compression="gzip")
        for k in range(3):
            data.id.write_direct_chunk((k, 0, 0), zeros_packed(GIB // 8))
    _bounded_read(tmp_path / "movie.h5", shape=(3, 64, 64), format="hdf5")


def test_deflate_bomb_in_zarr(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_omezarr")
    image = zarr_image(
        tmp_path / "image.zarr", shape=(2, 64, 64), chunks=(1, 64, 64), compressor={"id": "zlib", "level": 1}
    )
    (image / "0" / "0.0.0").write_bytes(zeros_packed(GIB))
    refused(image, "at most")


def test_deflate_bomb_in_mat(copy_of: Callable[..., Any]) -> None:
    copy = copy_of("scanbox", "TestOnePmt")
    mat = one(copy.folder, "*.mat")
    head = mat.read_bytes()[:128]
    bomb = zeros_packed(GIB)
    mat.write_bytes(head + struct.pack("<II", 15, len(bomb)) + bomb)
    refused(copy.open, ".", **copy.options)


def test_npy_claims_a_trillion_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((10, 8, 8), np.uint16))
    change(tmp_path / "movie.npy", b"(10, 8, 8), }           ", b"(1000000000000, 8, 8), }")
    refused(tmp_path / "movie.npy", ".")


def test_imagej_claims_a_trillion_pages(tmp_path: Path) -> None:
    text = b"ImageJ=1.53\nimages=1000000000000\nframes=1000000000000\n"
    (tmp_path / "movie.tif").write_bytes(tiff(np.zeros((1, 6, 8), "<u2"), text))
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with roi.open(tmp_path / "movie.tif") as recording:
            assert len(recording) == 1
            assert any("1,000,000,000,000" in note for note in recording.get_notes())


def test_ome_claims_a_trillion_samples(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_ometiff")
    path = ome_tiff(tmp_path, xml=ome_xml("movie.ome.tif", size_t=10**12))
    with bounded(), warnings.catch_warnings(), contextlib.suppress(RoiExtractorsError):
        warnings.simplefilter("ignore")
        with roi.open(path) as recording:
            assert len(recording) <= 3


def test_tiff_pages_in_a_circle(tmp_path: Path) -> None:
    content = bytearray(tiff(np.zeros((3, 6, 8), "<u2")))
    first = 8
    second = struct.unpack_from("<I", content, first + 2 + 11 * 12)[0]
    third = struct.unpack_from("<I", content, second + 2 + 11 * 12)[0]
    struct.pack_into("<I", content, third + 2 + 11 * 12, second)
    (tmp_path / "movie.tif").write_bytes(content)
    refused(tmp_path / "movie.tif", ".")


@pytest.mark.parametrize("tag", [256, 257, 277], ids=["width", "length", "samples"])
def test_tiff_row_of_a_billion_pixels(tmp_path: Path, tag: int) -> None:
    wrong = (tag, 4, 1, 10**9)
    (tmp_path / "plain.tif").write_bytes(tiff(np.zeros((3, 6, 8), "<u2"), t=wrong))
    refused(tmp_path / "plain.tif", ".")
    packed = tiff(np.zeros((3, 6, 8), "<u2"), t=wrong, c=(259, 3, 1, 8))
    (tmp_path / "packed.tif").write_bytes(packed)
    refused(tmp_path / "packed.tif", ".")
    wrong = (tag, 4, 1, 1 << 16)
    (tmp_path / "packed.tif").write_bytes(tiff(np.zeros((3, 6, 8), "<u2"), t=wrong, c=(259, 3, 1, 8)))
    refused(tmp_path / "packed.tif", ".")


@pytest.mark.parametrize("part", ["shape", "chunks"])
def test_zarr_claims_a_trillion_pixels(tmp_path: Path, part: str) -> None:
    pytest.importorskip("roiextractors_omezarr")
    claims = {"shape": (2, 4, 4), "chunks": (1, 4, 4)} | {part: (2, 10**6, 10**6)}
    refused(zarr_image(tmp_path / "image.zarr", **claims), "it is damaged")


def test_hdf5_claims_a_trillion_pixels(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_hdf5")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "movie.h5", "w") as file:
        file.create_dataset("movie", (3, 10**6, 10**6), "u2", chunks=(1, 64, 64))
    refused(tmp_path / "movie.h5", ".", format="hdf5")


def test_json_nested_without_end(copy_of: Callable[..., Any], tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((3, 4, 5), np.uint16))
    (tmp_path / "movie.npy.json").write_text("[" * 200_000)
    with bounded(), contextlib.suppress(RoiExtractorsError):
        roi.open(tmp_path / "movie.npy").close()
    image = zarr_image(tmp_path / "image.zarr", shape=(2, 4, 4), chunks=(1, 4, 4))
    (image / ".zattrs").write_text('{"multiscales": ' + "[" * 200_000)
    refused(image, ".", format="omezarr")


def test_yaml_aliases_that_multiply(copy_of: Callable[..., Any]) -> None:
    copy = copy_of("raw", "TestPicasso")
    side = one(copy.folder, "*.yaml")
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    side.write_text(bomb + side.read_text())
    with bounded(), contextlib.suppress(RoiExtractorsError):
        roi.open(copy.open, **copy.options).close()


@pytest.mark.parametrize("where", ["the directory", "the list of tables", "a frame", "into another frame"])
def test_oib_sectors_in_a_circle(where: str, copy_of: Callable[..., Any]) -> None:
    copy = copy_of("olympus", "TestMovieInOneFile")
    path = one(copy.folder, "*.oib")
    content = bytearray(path.read_bytes())
    (directory,) = struct.unpack_from("<I", content, 48)
    first, second = (
        struct.unpack_from("<I", content, content.index(name.encode("utf-16-le")) + 116)[0]
        for name in ("Stream00002", "Stream00004")
    )
    if where == "the list of tables":
        struct.pack_into("<II", content, 68, first, 1)
        struct.pack_into("<I", content, 4096 * (first + 2) - 4, first)
    else:
        place, to = {
            "the directory": (directory, directory),
            "a frame": (first, first),
            "into another frame": (first, second + 1),
        }[where]
        struct.pack_into("<I", content, 4096 + 4 * place, to)
    path.write_bytes(content)
    refused(path, "form a loop|meet at|outside|continues in sector", format="oib", **copy.options)


@pytest.mark.parametrize(
    ("at", "form", "value"), [(44, "<I", 10**9), (76, "<I", 10**9), (56, "<I", 2**32 - 1), (0, "<Q", 10**12)]
)
def test_oib_claims_a_trillion_bytes(at: int, form: str, value: int, copy_of: Callable[..., Any]) -> None:
    copy = copy_of("olympus", "TestMovieInOneFile")
    path = one(copy.folder, "*.oib")
    content = bytearray(path.read_bytes())
    at = at or content.index("Stream00002".encode("utf-16-le")) + 120
    struct.pack_into(form, content, at, value)
    path.write_bytes(content)
    if at == 44:  # how many sectors its table has: what is there is counted
        with bounded(), roi.open(path, format="oib", **copy.options) as recording:
            recording.get_series()
        return
    refused(path, "claims|is damaged|is needed", format="oib", **copy.options)


# Names


EVIL = "a\x1b[31mred\x07\r\nb\u202e"


def test_control_characters_in_a_file_name(tmp_path: Path) -> None:
    np.save(tmp_path / f"{EVIL}.npy", np.zeros((3, 4, 5), np.uint16))
    (tmp_path / f"{EVIL}.tif").write_bytes(b"II*\0\x08\0\0\0\1\0")
    (tmp_path / f"{EVIL}.bin").write_bytes(b"no recording at all")
    for name in (f"{EVIL}.tif", f"{EVIL}.bin", f"{EVIL}.nothing"):
        refused(tmp_path / name, ".")
        with contextlib.suppress(RoiExtractorsError):
            shown = str(roi.explain(tmp_path / name))
            assert shown == "\n".join(map(printable, shown.split("\n")))
    with roi.open(tmp_path / f"{EVIL}.npy") as recording:
        assert repr(recording) == printable(repr(recording))


def test_control_characters_in_a_channel_name(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_ometiff")
    xml = (
        f'<OME xmlns="{NAMESPACE}"><Image ID="Image:0" Name="&#x85;x"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
        'SizeX="8" SizeY="6" SizeZ="1" SizeC="3" SizeT="1"><Channel ID="Channel:0:0" Name="red&#x9b;31m&#x202e;&#13;&#10;x"/>'
        '<Channel ID="Channel:0:1" Name="green"/><Channel ID="Channel:0:2" Name="blue"/><TiffData/></Pixels></Image></OME>'
    )
    words = refused(ome_tiff(tmp_path, xml=xml), "has the channels")
    assert "\x9b" not in words


@pytest.mark.parametrize("verb", ["info", "explain", "streams"])
def test_control_characters_on_the_terminal(tmp_path: Path, verb: str) -> None:
    pytest.importorskip("typer")
    np.save(tmp_path / f"{EVIL}.npy", np.zeros((3, 4, 5), np.uint16))
    (tmp_path / f"{EVIL}.bin").write_bytes(b"no recording at all")
    for name in (f"{EVIL}.npy", f"{EVIL}.bin"):
        done = subprocess.run(
            [sys.executable, "-m", "roiextractors_core.cli", verb, name],
            capture_output=True,
            cwd=tmp_path,
            check=False,
            env={**os.environ, "NO_COLOR": "1", "TERM": "dumb"},
        )
        said = (done.stdout + done.stderr).decode()
        assert said
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said), repr(said)


# The table


def test_the_table_names_the_same_rows() -> None:
    page = (ROOT / "docs" / "hostile_content.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    others = {"the_table_names_the_same_rows", "zeros_are_packed_as_zlib_packs_them"}
    rows = {name.removeprefix("test_") for name in tests} - others
    assert sorted(named) == sorted(rows)
    assert len(named) == len(set(named))


# Pipes, devices and sparse files in place of a member


def replace_by(path: Path, kind: str) -> None:
    """Put a pipe, a link to an endless device, or a sparse file of a tebibyte in place of a file."""
    if kind == "sparse":
        os.truncate(path, 1 << 40)
        return
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse"])
@pytest.mark.parametrize("member", [".zgroup", ".zattrs", "0/.zarray", "0/0.0.0"])
def test_device_in_zarr(tmp_path: Path, member: str, kind: str) -> None:
    pytest.importorskip("roiextractors_omezarr")
    image = zarr_image(tmp_path / "image.zarr", shape=(2, 4, 4), chunks=(1, 4, 4))
    (image / "0" / "0.0.0").write_bytes(bytes(32))
    replace_by(image / member, kind)
    refused(image, ".")
    refused(image, ".", format="omezarr")


DEVICES_IN = [
    ("bruker", "TestOneFrameAFile", "*.xml"),
    ("bruker", "TestOneFrameAFile", "*.env"),
    ("thorimage", "TestRawWithTimes", "Experiment.xml"),
    ("thorimage", "TestRawWithTimes", "timing.txt"),
    ("micromanager", "TestNDTiffMovie", "NDTiff.index"),
    ("olympus", "TestFolderOfTwoChannels", "*.oif"),
    ("scanbox", "TestOnePmt", "*.mat"),
    ("suite2p", "TestItsDescription", "ops.npy"),
    ("suite2p", "TestItsDescription", "data.bin"),
]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "sparse"])
@pytest.mark.parametrize(("plugin", "name", "pattern"), DEVICES_IN)
def test_device_in_a_folder(copy_of: Callable[..., Any], plugin: str, name: str, pattern: str, kind: str) -> None:
    copy = copy_of(plugin, name)
    members = sorted(copy.folder.rglob(pattern))
    if not members:
        pytest.skip(f"this recording has no {pattern}")
    replace_by(members[0], kind)
    with bounded(), contextlib.suppress(RoiExtractorsError):
        roi.explain(copy.open)
    with bounded(), warnings.catch_warnings(), contextlib.suppress(RoiExtractorsError):
        warnings.simplefilter("ignore")
        with roi.open(copy.open, **copy.options) as recording:
            recording.get_series(0, 1)


# Depth


def test_views_of_views(tmp_path: Path) -> None:
    pixels = np.arange(2100 * 4 * 5, dtype=np.uint32).reshape(2100, 4, 5)
    np.save(tmp_path / "movie.npy", pixels)
    with bounded(), roi.open(tmp_path / "movie.npy", sampling_frequency=10.0) as recording:
        view = recording
        for _ in range(2000):
            view = view.slice_samples(1, len(view))
        np.testing.assert_array_equal(view.get_series(7, 9), pixels[2007:2009])
        np.testing.assert_allclose(view.get_timestamps(0, 2), [200.0, 200.1])
        assert str(len(view)) in repr(view)
        with pickle.loads(pickle.dumps(view)) as again:
            np.testing.assert_array_equal(again.get_series(7, 9), pixels[2007:2009])


@pytest.mark.parametrize("levels", [100, 1000, 100_000])
def test_metadata_of_any_depth(levels: int) -> None:
    nested: Any = 1
    for _ in range(levels):
        nested = {"a": nested}
    metadata = roi.RecordingMetadata(vendor={"top": nested})
    with bounded():
        if levels < 200:
            assert json.loads(json.dumps(metadata.to_dict()))["vendor"]["top"] == nested
            return
        with pytest.raises(RoiExtractorsError, match="nested deeper than 200 levels"):
            metadata.to_dict()


@pytest.mark.parametrize("kind", ["bruker", "thorimage", "ometiff"])
def test_xml_attribute_of_40_megabytes(kind: str, copy_of: Callable[..., Any], tmp_path: Path) -> None:
    source = xml_recording(kind, copy_of, tmp_path, "", "x" * (40 << 20))
    with bounded():
        roi.explain(source)
    refused(source, "more than|too large", format=kind)


def test_json_of_a_million_lists(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_omezarr")
    image = zarr_image(tmp_path / "image.zarr", shape=(2, 4, 4), chunks=(1, 4, 4))
    described = (image / ".zattrs").read_text()
    (image / ".zattrs").write_text(described[:-1] + ', "more": [' + "[]," * 5_000_000 + "[]]}")
    refused(image, ".", format="omezarr")


def test_sidecar_of_a_million_lists(tmp_path: Path) -> None:
    np.save(tmp_path / "movie.npy", np.zeros((3, 4, 5), np.uint16))
    lists = "[" + "[]," * 8_000_000 + "[]]"
    (tmp_path / "movie.npy.json").write_text('{"roiextractors": {"times": ' + lists + "}}")
    refused(tmp_path / "movie.npy", "values are read")
    (tmp_path / "movie.npy.json").write_text('{"of another program": ' + lists + "}")
    with bounded(), roi.open(tmp_path / "movie.npy") as recording:
        assert len(recording) == 3


# Codecs that decode to more than was declared


def packed_tiff(data: bytes, compression: int, side: int = 64) -> bytes:
    """A TIFF of one page of bytes, side x side, with one strip of these bytes."""
    data += bytes(len(data) % 2)
    tags = [
        (256, side),
        (257, side),
        (258, 8),
        (259, compression),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, side),
        (279, len(data)),
    ]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + table + bytes(4)


CODECS = {"jpeg": 7, "jpeg2k": 34712, "webp": 50001, "lerc": 34887, "jpegxl": 50002, "jpegxr": 34934, "png": 34933}
BYTE_CODECS = {"lzw": 5, "zlib": 8, "packbits": 32773, "lzma": 34925, "zstd": 50000}


def packed_bytes(codec: str, content: bytes) -> bytes:
    import imagecodecs

    if codec == "packbits":  # in literal runs; the encoder of imagecodecs takes minutes for zeros
        return b"".join(
            bytes([len(run) - 1]) + run for run in (content[k : k + 128] for k in range(0, len(content), 128))
        )
    return bytes(getattr(imagecodecs, f"{codec}_encode")(content))


@pytest.mark.parametrize("codec", [*CODECS, *BYTE_CODECS])
def test_codec_bomb_in_tiff(tmp_path: Path, codec: str) -> None:
    pytest.importorskip("roiextractors_tiff")
    imagecodecs = pytest.importorskip("imagecodecs")
    encode = getattr(imagecodecs, f"{codec}_encode")
    side = 1600
    pixels = np.zeros((side, side, 3) if codec == "webp" else (side, side), np.uint8)
    data = bytes(encode(pixels)) if codec in CODECS else packed_bytes(codec, pixels.tobytes())
    number = (CODECS | BYTE_CODECS)[codec]
    (tmp_path / "movie.tif").write_bytes(packed_tiff(data, number))
    refused(tmp_path / "movie.tif", "expected|more than|cannot be decoded")


@pytest.mark.parametrize("codec", [*CODECS, *BYTE_CODECS])
def test_codec_of_another_size_in_tiff(tmp_path: Path, codec: str) -> None:
    pytest.importorskip("roiextractors_tiff")
    imagecodecs = pytest.importorskip("imagecodecs")
    encode = getattr(imagecodecs, f"{codec}_encode")
    for side in (40, 64, 96):
        pixels = np.random.default_rng(side).integers(0, 255, (side, side), dtype=np.uint8)
        if codec == "webp":  # of three values a pixel, so never of the size of this page
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        data = bytes(encode(pixels)) if codec in CODECS else packed_bytes(codec, pixels.tobytes())
        (tmp_path / f"{side}.tif").write_bytes(packed_tiff(data, (CODECS | BYTE_CODECS)[codec]))
        if side != 64:
            refused(tmp_path / f"{side}.tif", "expected|more than|cannot be decoded")
        elif codec not in ("webp", "jpeg"):
            with roi.open(tmp_path / "64.tif") as recording:
                np.testing.assert_array_equal(recording[0], pixels)


HDF5_FILTERS = {
    "gzip": [(1, (4,))],
    "gzip with a checksum": [(1, (4,)), (3, ())],
    "shuffled gzip": [(2, (2,)), (1, (4,))],
    "lzf": [(32000, (4, 261, 0))],
    "zstd": [(32015, ())],
    "blosc": [(32001, (2, 2, 2, 0))],
    "lz4": [(32004, ())],
    "another": [(31999, ())],
}


def hdf5_of_one_chunk(path: Path, filters: list[tuple[int, tuple[int, ...]]], chunk: bytes, side: int) -> Path:
    """Write a dataset of one chunk by hand, with filters that libhdf5 need not have."""
    h5py = pytest.importorskip("h5py")
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((1, side, side))
    for number, values in filters:
        creation.set_filter(number, h5py.h5z.FLAG_OPTIONAL, values)
    with h5py.File(path, "w") as file:
        space = h5py.h5s.create_simple((1, side, side))
        made = h5py.h5d.create(file.id, b"movie", h5py.h5t.STD_U16LE, space, creation)
        made.write_direct_chunk((0, 0, 0), chunk)
    return path


def hdf5_chunk(kind: str, size: int) -> bytes:
    """Pack zeros as a filter of HDF5 does."""
    imagecodecs = pytest.importorskip("imagecodecs")
    if kind == "lzf":  # a literal zero, then copies of 264 bytes
        return b"\0\0" + b"\xe0\xff\0" * (size // 264)
    if kind in ("zstd", "blosc"):
        return bytes(getattr(imagecodecs, f"{kind}_encode")(bytes(size)))
    if kind == "lz4":
        return bytes(imagecodecs.lz4h5_encode(bytes(size)))
    packed = zeros_packed(size)
    return packed + bytes(4) if kind == "gzip with a checksum" else packed


@pytest.mark.parametrize("kind", HDF5_FILTERS)
def test_codec_bomb_in_hdf5(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("roiextractors_hdf5")
    # A chunk of 8 MiB may be stored in as many bytes, and those can decode to gigabytes
    chunk = hdf5_chunk(kind, GIB // 2)
    path = hdf5_of_one_chunk(tmp_path / "movie.h5", HDF5_FILTERS[kind], chunk, 2048)
    refused(path, "cannot be decoded to the|is not available|claims .* bytes for a chunk", format="hdf5")


@pytest.mark.parametrize("kind", HDF5_FILTERS)
def test_codec_of_another_size_in_hdf5(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("roiextractors_hdf5")
    for factor in (0.5, 1.5):
        size = 1 << 21 if "gzip" in kind or kind == "lzf" else 1 << 13
        side = 1024 if size > 1 << 20 else 64
        chunk = hdf5_chunk(kind, int(factor * size))
        path = hdf5_of_one_chunk(tmp_path / f"{factor}.h5", HDF5_FILTERS[kind], chunk, side)
        refused(path, "cannot be decoded|is not available", format="hdf5")


# Work per sample


def test_chunks_of_one_pixel(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_omezarr")
    refused(zarr_image(tmp_path / "image.zarr", shape=(4, 2048, 2048), chunks=(1, 1, 1)), "larger chunks")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "movie.h5", "w", libver="latest") as file:
        file.create_dataset("movie", (4, 2048, 2048), "u1", chunks=(1, 1, 1))[0, 0, 0] = 1
    refused(tmp_path / "movie.h5", "larger chunks", format="hdf5")


def test_shard_of_a_million_chunks(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_omezarr")
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "image.zarr", mode="w", zarr_format=3)
    group.create_array("0", shape=(2, 2048, 2048), chunks=(1, 1, 1), shards=(1, 2048, 2048), dtype="u1")
    axes = [{"name": n, "type": kind} for n, kind in (("t", "time"), ("y", "space"), ("x", "space"))]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    refused(tmp_path / "image.zarr", "larger chunks")


def avi_of_three_frames(index: bytes = b"") -> bytes:
    """An uncompressed AVI of 16 x 16 pixels, by hand."""
    head = b"vidsDIB " + struct.pack("<IHHIIIIIIIIhhhh", 0, 0, 0, 0, 1, 20, 0, 3, 0, 0, 0, 0, 0, 16, 16)
    bitmap = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 8, 0, 256, 0, 0, 0, 0) + bytes(1024)

    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body

    main = struct.pack("<14I", 50000, 0, 0, 16, 3, 0, 1, 0, 16, 16, 0, 0, 0, 0)
    stream = chunk(b"LIST", b"strl" + chunk(b"strh", head) + chunk(b"strf", bitmap))
    header = chunk(b"LIST", b"hdrl" + chunk(b"avih", main) + stream)
    return chunk(b"RIFF", b"AVI " + header + chunk(b"LIST", b"movi" + chunk(b"00db", bytes(256)) * 3) + index)


def test_avi_index_of_ten_million_entries(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_video")
    entries = (b"00db" + struct.pack("<III", 16, 4, 256)) * 10_000_000
    (tmp_path / "movie.avi").write_bytes(avi_of_three_frames(b"idx1" + struct.pack("<I", len(entries)) + entries))
    with bounded(), roi.open(tmp_path / "movie.avi") as recording:
        assert recording.get_series().shape == (3, 16, 16)


@pytest.mark.parametrize("side", [16_000, 65_535])
@pytest.mark.parametrize("codec", ["ffv1", "mjpeg"])
def test_video_claims_enormous_frames(tmp_path: Path, codec: str, side: int) -> None:
    pytest.importorskip("roiextractors_video")
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "movie.avi"), "w") as container:
        stream = container.add_stream(codec, rate=20)
        stream.width = stream.height = 64
        stream.pix_fmt = "gray" if codec == "ffv1" else "yuvj420p"
        pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        container.mux(stream.encode())
    change(tmp_path / "movie.avi", struct.pack("<ii", 64, 64), struct.pack("<ii", side, side), -1)
    refused(tmp_path / "movie.avi", "claims frames of|pixels are supported|cannot be decoded", format="video")


def test_avi_of_a_million_riffs(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_video")
    (tmp_path / "movie.avi").write_bytes(b"RIFF\x04\0\0\0AVI " * 1_000_000)
    refused(tmp_path / "movie.avi", ".")


# Directories, tags and strips that cost more than the file


PAGE_TAGS = ((256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8))
PAGE_TAGS += ((277, 3, 1, 1), (278, 3, 1, 16), (279, 4, 1, 256))


def tiff_chain(
    path: Path, count: int, *kinds: list[tuple[int, int, int, int]], more: bytes = b"", without: int = 0
) -> Path:
    """Write directories of these kinds in turn: the tags of each, besides those of one page that they all share.

    The file begins with its header, 256 bytes of pixels, and ``more``.  The tag ``without`` is left out.
    """
    tables = []
    for kind in kinds:
        entries = sorted({tag[0]: tag for tag in (*PAGE_TAGS, *kind) if tag[0] != without}.values())
        tables.append(
            struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
        )
    start, period = 8 + 256 + len(more), b"".join(tables)
    chain = np.tile(np.frombuffer(period, np.uint8), (-(-count // len(kinds)), 1))
    rows, at = np.arange(len(chain), dtype=np.int64) * len(period), 0
    for table in tables:
        at += len(table)
        chain[:, at - 4 : at] = (start + rows + at).astype("<u4").view(np.uint8).reshape(-1, 4)
    chain[-1, -4:] = 0
    path.write_bytes(b"II*\0" + struct.pack("<I", start) + bytes(256) + more + chain.tobytes())
    return path


SOFTWARE = (305, 2, 4, 0x41414141)


@pytest.mark.parametrize("second", ["a tag more", "a thumbnail", "another size", "two strips"])
def test_tiff_directories_of_two_kinds_in_turn(tmp_path: Path, second: str) -> None:
    pytest.importorskip("roiextractors_tiff")
    kinds = {
        "a tag more": ([], [SOFTWARE]),
        "a thumbnail": ([], [(254, 4, 1, 1), (256, 3, 1, 8)]),
        "another size": ([], [(256, 3, 1, 8)]),
        "two strips": ([(273, 4, 2, 264), (278, 3, 1, 8), (279, 4, 2, 272)],),
    }[second]
    path = tiff_chain(tmp_path / "movie.tif", 400_000, *kinds, more=struct.pack("<IIII", 8, 136, 128, 128))
    if second == "another size":
        refused(path, "the pages before have|has the series")
        return
    with bounded(), roi.open(path) as recording:
        assert recording.get_series(0, 2).shape[1:] == (16, 16)
        assert len(recording) == (200_000 if second == "a thumbnail" else 400_000)


def test_tiff_directories_all_different(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    kinds = [[(1000 + k, 3, 1, 0)] for k in range(1000)]
    refused(tiff_chain(tmp_path / "movie.tif", 400_000, *kinds), "whose tags differ from those of all others")


def test_tiff_of_many_pages_that_leave_out_a_length(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    count, page = 150_000, np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = tiff_chain(tmp_path / "movie.tif", count, [], [SOFTWARE], without=279)
    content = bytearray(path.read_bytes())
    content[8:264] = page.tobytes()
    path.write_bytes(content)
    with bounded(), roi.open(path) as recording:
        assert len(recording) == count
        np.testing.assert_array_equal(recording.get_samples([0, 1, count - 1]), np.stack([page] * 3))


def test_tiff_directories_that_overlap(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    tags, count = 4000, 20_000
    # Directories at every 12th byte, each of 48 kB: an entry ends with the number of tags of a directory in it
    content = np.zeros((tags + count + 1, 12), np.uint8)
    content[:, 10:] = np.frombuffer(struct.pack("<H", tags), np.uint8)
    for k, (code, kind, number, value) in enumerate(PAGE_TAGS):
        entry = struct.pack("<HHIH", code, 3 if kind == 4 else kind, number, value)
        content[k :: len(PAGE_TAGS), :10] = np.frombuffer(entry, np.uint8)
    head = b"II*\0" + struct.pack("<IH", 8, tags)
    following = (8 + 12 * np.arange(1, count + 1)).astype("<u4")
    content[tags : tags + count, :4] = following.view(np.uint8).reshape(-1, 4)
    (tmp_path / "movie.tif").write_bytes(head + content.tobytes())
    series = _series_or_refusal(tmp_path / "movie.tif")
    assert series is None or len(series) == 1


def test_tiff_chain_of_directories_without_pixels(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    refused(tiff_chain(tmp_path / "movie.tif", 1_000_000, [], [SOFTWARE]), "fewer bytes of pixels than of tags")


def test_tiff_tags_of_gigabytes(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    claims = [(1000 + k, 4, 15_000_000, 264) for k in range(4000)] + [(330, 4, 500_000, 264)]
    path = tiff_chain(tmp_path / "movie.tif", 1, claims, more=bytes(60_000_000))
    with bounded(), roi.open(path) as recording:
        assert recording.get_series().shape == (1, 16, 16)
        json.dumps(recording.metadata.to_dict())


def test_tiff_strips_in_common(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_tiff")
    strips = 65_536
    table = struct.pack("<I", 8) * strips + struct.pack("<I", 16) * strips
    tall = [(257, 4, 1, strips), (273, 4, strips, 264), (278, 3, 1, 1), (279, 4, strips, 264 + 4 * strips)]
    refused(tiff_chain(tmp_path / "movie.tif", 3000, tall, [*tall, SOFTWARE], more=table), "strips and tiles")


def test_tiff_description_in_common(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_scanimage")
    text = b"frameNumbers = 1\nframeTimestamps_sec = 0\n" * 100_000 + b"\0"
    described = [(270, 2, len(text), 264)]
    path = tiff_chain(tmp_path / "movie.tif", 20_000, described, [*described, SOFTWARE], more=text)
    with bounded(), contextlib.suppress(RoiExtractorsError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with roi.open(path) as recording:
            recording.get_series(0, 1)
            recording.get_native_timestamps()


# Sidecars and indexes by the million


def mat_element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def mat_matrix(kind: int, name: bytes, shape: tuple[int, int], content: bytes) -> bytes:
    head = mat_element(6, struct.pack("<II", kind, 0)) + mat_element(5, struct.pack("<ii", *shape))
    return mat_element(14, head + mat_element(1, name) + content)


@pytest.mark.parametrize("kind", ["cells", "packed cells", "variables", "packed variables", "a cell of 10**18"])
def test_mat_of_a_million_cells(copy_of: Callable[..., Any], kind: str) -> None:
    copy = copy_of("scanbox", "TestOnePmt")
    mat = one(copy.folder, "*.mat")
    count = 900_000
    number = mat_matrix(6, b"", (1, 1), mat_element(9, bytes(8)))
    if "variables" in kind:
        body = mat_matrix(6, b"infos", (1, 1), mat_element(9, bytes(8)))
        packed = zlib.compress(body)
        content = (struct.pack("<II", 15, len(packed)) + packed if "packed" in kind else body) * (count // 2)
    elif kind == "a cell of 10**18":
        content = mat_matrix(1, b"info", (10**9, 10**9), b"")
    else:
        content = mat_matrix(1, b"info", (1, count), number * count)
        packed = zlib.compress(content)
        content = struct.pack("<II", 15, len(packed)) + packed if "packed" in kind else content
    mat.write_bytes(mat.read_bytes()[:128] + content)
    with bounded():
        roi.explain(copy.open)
    refused(
        copy.open,
        "variables, cells and fields|is truncated|incomplete|decompresses to",
        format="scanbox",
        **copy.options,
    )


def test_inscopix_footer_of_a_million_lists(copy_of: Callable[..., Any]) -> None:
    copy = copy_of("inscopix", "TestUint16WithFrameHeaders")
    path = one(copy.folder, "*.isxd")
    content = path.read_bytes()
    length = int.from_bytes(content[-8:], "little")
    footer = content[-9 - length : -9].rstrip()[:-1] + b',"more":[' + b"[]," * 20_000_000 + b"[]]}"
    path.write_bytes(content[: -9 - length] + footer + b"\0" + len(footer).to_bytes(8, "little"))
    with bounded():
        roi.explain(path)
    refused(path, "expected a JSON footer", format="inscopix", **copy.options)


@pytest.mark.parametrize("kind", ["NDTiff.index", "an index map"])
def test_micromanager_index_of_a_million_entries(copy_of: Callable[..., Any], kind: str) -> None:
    copy = copy_of("micromanager", "TestNDTiffMovie" if kind == "NDTiff.index" else "TestImageFileStack")
    if kind == "NDTiff.index":
        index = one(copy.folder, "NDTiff.index")
        index.write_bytes(index.read_bytes() * 45_000)  # 3 million entries
        refused(copy.open, "the TIFF files that it describes have", **copy.options)
        return
    path = one(copy.folder, "*.tif")
    content = bytearray(path.read_bytes())
    at = struct.unpack_from("<I", content, 12)[0]
    entry, count = bytes(content[at + 8 : at + 28]), 5_000_000
    struct.pack_into("<I", content, 12, len(content))
    path.write_bytes(bytes(content) + struct.pack("<II", 3453623, count) + entry * count)
    refused(copy.open, "do not fit into its", **copy.options)


@pytest.mark.parametrize("kind", ["thorimage", "miniscope"])
def test_times_of_hundreds_of_megabytes(copy_of: Callable[..., Any], kind: str) -> None:
    name, times = {
        "thorimage": ("TestRawWithTimes", "timing.txt"),
        "miniscope": ("TestFolderOfADevice", "timeStamps.csv"),
    }[kind]
    copy = copy_of(kind, name)
    with one(copy.folder, times).open("ab") as file:
        for _ in range(200):
            file.write(b"1,2,3\n" * 200_000)
    with bounded(), contextlib.suppress(RoiExtractorsError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with roi.open(copy.open, format=kind, **copy.options) as recording:
            recording.get_series(0, 1)
            recording.get_native_timestamps()


# Groups and frames by the hundred thousand


def test_hdf5_of_many_scalars(tmp_path: Path) -> None:
    pytest.importorskip("roiextractors_hdf5")
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "movie.h5", "w", libver="latest") as file:
        group = file.create_group("a")
        for k in range(30_000):
            group.create_dataset(f"d{k}", data=np.uint8(1))
        file.create_dataset("movie", data=np.zeros((5, 16, 16), np.uint8))
    with bounded(), roi.open(tmp_path / "movie.h5", format="hdf5") as recording:
        assert recording.shape == (5, 16, 16)


def nwb_file(path: Path) -> Any:
    pytest.importorskip("roiextractors_nwb")
    file = pytest.importorskip("h5py").File(path, "w", libver="latest")
    file.attrs["nwb_version"], file.attrs["neurodata_type"] = "2.5.0", "NWBFile"
    return file


def test_nwb_of_many_groups(tmp_path: Path) -> None:
    with nwb_file(tmp_path / "session.nwb") as file:
        group = file.create_group("acquisition")
        for k in range(60_000):
            group.create_group(f"s{k}")
    refused(tmp_path / "session.nwb", "contains no imaging series|groups and datasets", format="nwb")


def test_nwb_links_in_a_circle(tmp_path: Path) -> None:
    with nwb_file(tmp_path / "session.nwb") as file:
        top = group = file.create_group("acquisition")
        for _ in range(60):
            below = group.create_group("x")
            below["up"], below["y"], group = top, below, below
        for name in ("processing", "analysis", "scratch", "stimulus"):
            file[name] = top
    refused(tmp_path / "session.nwb", "contains no imaging series", format="nwb")


@pytest.mark.parametrize("page", ["one page", "pages of a small file"])
def test_prairie_view_xml_of_a_million_frames(copy_of: Callable[..., Any], page: str) -> None:
    copy = copy_of("bruker", "TestOneFrameAFile")
    xml = scan_xml(copy.folder)
    name = one(copy.folder, "*.tif").name
    frames = (
        f'<Frame relativeTime="0.1" index="{k}"><File channel="1" filename="{name}" page="{k if page != "one page" else 1}"/></Frame>'
        for k in range(1, 1_000_001)
    )
    xml.write_text(
        '<?xml version="1.0"?><PVScan version="5.4"><Sequence type="TSeries" cycle="1">'
        + "".join(frames)
        + "</Sequence></PVScan>"
    )
    refused(copy.open, "are both page 1|is damaged", format="bruker", **copy.options)
