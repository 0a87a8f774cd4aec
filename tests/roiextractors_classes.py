"""Run roiextractors' own imaging classes on one of two base classes, theirs or ours, and print what they return.

``python roiextractors_classes.py theirs|ours FOLDER [RECORDINGS]``: FOLDER holds generated files, RECORDINGS the real ones.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CLASSES", "cases", "generate"]

CLASSES = [
    "BrukerTiffImagingExtractor",
    "BrukerTiffMultiPlaneImagingExtractor",
    "BrukerTiffSinglePlaneImagingExtractor",
    "FemtonicsImagingExtractor",
    "Hdf5ImagingExtractor",
    "MemmapImagingExtractor",
    "MicroManagerTiffImagingExtractor",
    "MiniscopeImagingExtractor",
    "MiniscopeMultiRecordingImagingExtractor",
    "MultiTIFFMultiPageExtractor",
    "NumpyImagingExtractor",
    "NumpyMemmapImagingExtractor",
    "NwbImagingExtractor",
    "OMETiffImagingExtractor",
    "SbxImagingExtractor",
    "ScanImageImagingExtractor",
    "ScanImageLegacyImagingExtractor",
    "ThorTiffImagingExtractor",
    "TiffImagingExtractor",
    "MultiImagingExtractor",
    "PlanarStackImagingExtractor",
    "VolumetricImagingExtractor",
]


def generate(folder: Path) -> None:
    """Write one small file of each kind that needs no microscope."""
    import h5py
    import tifffile

    frames = np.random.default_rng(0).integers(0, 4000, (12, 20, 30)).astype(np.uint16)
    np.save(folder / "movie.npy", frames[..., None])
    frames.tofile(folder / "movie.dat")
    tifffile.imwrite(folder / "movie.tif", frames, photometric="minisblack")
    for index in range(3):
        tifffile.imwrite(folder / f"part{index}.tif", frames[4 * index : 4 * index + 4], photometric="minisblack")
    with h5py.File(folder / "movie.h5", "w") as file:
        file["mov"] = frames.reshape(1, *frames.shape)
    volumes = frames.reshape(4, 3, 20, 30)
    tifffile.imwrite(
        folder / "volumes.ome.tif", volumes, metadata={"axes": "TZYX", "TimeIncrement": 0.1}, photometric="minisblack"
    )
    channels = frames.reshape(6, 2, 20, 30)
    tifffile.imwrite(
        folder / "channels.ome.tif",
        channels,
        metadata={"axes": "TCYX", "Channel": {"Name": ["green", "red"]}},
        photometric="minisblack",
    )


Make = Callable[[], Any]


def cases(rx: Any, folder: Path, data: Path | None) -> Iterator[tuple[str, Make]]:
    """Yield a name for each combination of class and file, and what opens it."""
    frames = np.load(folder / "movie.npy")[..., 0]
    structure = rx.VideoStructure(
        num_rows=20, num_columns=30, num_channels=1, rows_axis=1, columns_axis=2, channels_axis=3, frame_axis=0
    )
    numpy_class = rx.NumpyImagingExtractor
    yield "NumpyImagingExtractor array", lambda: numpy_class(frames[..., None], 20.0)
    yield "NumpyImagingExtractor volumes", lambda: numpy_class(frames.reshape(4, 3, 20, 30).transpose(0, 2, 3, 1), 20.0)
    yield "NumpyImagingExtractor file", lambda: numpy_class(folder / "movie.npy", 20.0)
    yield (
        "NumpyMemmapImagingExtractor",
        lambda: rx.NumpyMemmapImagingExtractor(folder / "movie.dat", structure, 20.0, "uint16"),
    )
    yield "TiffImagingExtractor", lambda: rx.TiffImagingExtractor(folder / "movie.tif", 20.0)
    yield (
        "MultiTIFFMultiPageExtractor",
        lambda: rx.MultiTIFFMultiPageExtractor([folder / f"part{i}.tif" for i in range(3)], 20.0),
    )
    yield (
        "MultiTIFFMultiPageExtractor planes",
        lambda: rx.MultiTIFFMultiPageExtractor(
            [folder / f"part{i}.tif" for i in range(3)], 20.0, dimension_order="ZCT", num_planes=2
        ),
    )
    yield "Hdf5ImagingExtractor", lambda: rx.Hdf5ImagingExtractor(folder / "movie.h5", sampling_frequency=20.0)
    yield "OMETiffImagingExtractor volumes", lambda: rx.OMETiffImagingExtractor(folder / "volumes.ome.tif", 10.0)
    for name in ("0", "1"):
        yield (
            f"OMETiffImagingExtractor named {name}",
            lambda name=name: rx.OMETiffImagingExtractor(
                folder / "channels.ome.tif", 10.0, channel_name=("green", "red")[int(name)]
            ),
        )
    parts = lambda: [rx.TiffImagingExtractor(folder / f"part{i}.tif", 20.0) for i in range(3)]  # noqa: E731
    yield "MultiImagingExtractor", lambda: rx.MultiImagingExtractor(parts())
    yield "PlanarStackImagingExtractor", lambda: rx.PlanarStackImagingExtractor(parts())
    yield "VolumetricImagingExtractor", lambda: rx.VolumetricImagingExtractor(parts())
    yield "PlanarStackImagingExtractor depth_slice", lambda: rx.PlanarStackImagingExtractor(parts()).depth_slice(1, 3)
    yield "MultiImagingExtractor times", lambda: _with_times(rx.MultiImagingExtractor(parts()))
    if data is None:
        return
    scanimage = data / "scanimage"
    for options in ({"slice_sample": 0}, {"slice_sample": 1}, {"interleave_slice_samples": True}):
        for channel in ("Channel 1", "Channel 4"):
            yield (
                f"ScanImageImagingExtractor noroi {channel} {options}",
                lambda channel=channel, options=options: rx.ScanImageImagingExtractor(
                    scanimage / "scanimage_20220923_noroi.tif", channel_name=channel, **options
                ),
            )
        yield (
            f"ScanImageImagingExtractor noroi plane 1 {options}",
            lambda options=options: rx.ScanImageImagingExtractor(
                scanimage / "scanimage_20220923_noroi.tif", channel_name="Channel 1", plane_index=1, **options
            ),
        )
    first = scanimage / "volumetric_single_channel_multi_file" / "vol_one_ch_multi_files_00001_00001.tif"
    yield "ScanImageImagingExtractor volumes", lambda: rx.ScanImageImagingExtractor(first)
    yield "ScanImageImagingExtractor plane", lambda: rx.ScanImageImagingExtractor(first, plane_index=2)
    yield (
        "ScanImageLegacyImagingExtractor",
        lambda: rx.ScanImageLegacyImagingExtractor(scanimage / "sample_scanimage_version_3_8.tiff", 3.90625),
    )
    bruker = data / "bruker" / "NCCR32_2022_11_03_IntoTheVoid_t_series-005"
    yield "BrukerTiffImagingExtractor", lambda: rx.BrukerTiffImagingExtractor(bruker)
    yield "BrukerTiffMultiPlaneImagingExtractor", lambda: rx.BrukerTiffMultiPlaneImagingExtractor(bruker)
    for stream in (1, 2):
        yield (
            f"BrukerTiffSinglePlaneImagingExtractor {stream}",
            lambda stream=stream: rx.BrukerTiffSinglePlaneImagingExtractor(bruker, stream_name=f"Ch2_00000{stream}"),
        )
    thor = data / "thorimage"
    yield (
        "ThorTiffImagingExtractor",
        lambda: rx.ThorTiffImagingExtractor(thor / "tiff_single_channel_single_plane" / "ChanA_001_001_001_001.tif"),
    )
    for channel in ("ChanA", "ChanB"):
        yield (
            f"ThorTiffImagingExtractor {channel}",
            lambda channel=channel: rx.ThorTiffImagingExtractor(
                thor / "tiff_zstack_two_channels" / "ChanA_0001_0001_0001_0001.tif", channel_name=channel
            ),
        )
    miniscope = data / "miniscope" / "C6-J588_Disc5"
    for folder_name in ("15_03_28", "15_06_28"):
        yield (
            f"MiniscopeImagingExtractor {folder_name}",
            lambda folder_name=folder_name: rx.MiniscopeImagingExtractor(miniscope / folder_name / "Miniscope"),
        )
    yield "MiniscopeMultiRecordingImagingExtractor", lambda: rx.MiniscopeMultiRecordingImagingExtractor(miniscope)
    for unit in ("MUnit_0", "MUnit_1"):
        for channel in ("UG", "UR"):
            yield (
                f"FemtonicsImagingExtractor {unit} {channel}",
                lambda unit=unit, channel=channel: rx.FemtonicsImagingExtractor(
                    data / "femtonics" / "p29.mesc", session_name="MSession_0", munit_name=unit, channel_name=channel
                ),
            )
    yield (
        "NwbImagingExtractor",
        lambda: rx.NwbImagingExtractor(data / "nwb" / "onephoton_movie.nwb", optical_series_name=None),
    )
    for name in ("calcium_imaging.tif", "imagej_membrane_2d_timelapse.tif", "big_endian.tif"):
        yield f"TiffImagingExtractor {name}", lambda name=name: rx.TiffImagingExtractor(data / "tiff" / name, 10.0)


def _with_times(extractor: Any) -> Any:
    extractor.set_times(np.arange(extractor.get_num_samples()) * 0.5 + 3)
    return extractor


def facts(make: Make) -> dict[str, Any]:
    """Return what the methods of an extractor return: errors by their class, arrays by their hash."""
    extractor = make()
    count = int(extractor.get_num_samples())
    reads: dict[str, Callable[[], Any]] = {
        "class": lambda: type(extractor).__name__,
        "samples": lambda: count,
        "image": lambda: tuple(map(int, extractor.get_image_shape())),
        "sample": lambda: tuple(map(int, extractor.get_sample_shape())),
        "frame": lambda: tuple(map(int, extractor.get_frame_shape())),
        "volumetric": lambda: bool(
            extractor.is_volumetric
        ),  # NumpyMemmapImagingExtractor says False of arrays of four axes
        "planes": lambda: int(extractor.get_num_planes()) if extractor.is_volumetric else None,
        "dtype": lambda: str(np.dtype(extractor.get_dtype()).newbyteorder("=")),
        "rate": lambda: (
            None if extractor.get_sampling_frequency() is None else float(extractor.get_sampling_frequency())
        ),
        "series": lambda: extractor.get_series(),
        "part": lambda: extractor.get_series(start_sample=min(1, count - 1), end_sample=min(3, count)),
        "samples 0 2": lambda: extractor.get_samples([0, min(2, count - 1)]),
        "sliced": lambda: extractor.slice_samples(min(1, count - 1), count).get_series(0, 1),
        "field": lambda: extractor.slice_field_of_view(2, 9, 3, 11).get_series(0, min(2, count)),
        "times": lambda: extractor.get_timestamps(),
        "times part": lambda: extractor.get_timestamps(start_sample=min(1, count - 1), end_sample=min(3, count)),
        "native": lambda: extractor.get_native_timestamps(),
    }
    if extractor.is_volumetric:
        reads["plane"] = lambda: extractor.select_plane(1).get_series(0, min(2, count))
    return {name: _plain(read) for name, read in reads.items()}


def _plain(read: Callable[[], Any]) -> Any:
    try:
        value = read()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if isinstance(value, np.ndarray):
        native = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("=")))
        return [list(value.shape), str(native.dtype), hashlib.sha256(native.tobytes()).hexdigest()[:16]]
    return value


def _roiextractors(ours: bool) -> Any:
    """Import roiextractors; with ``ours`` its classes inherit from our base class."""
    if ours:
        import roiextractors_core as roi

        found = importlib.util.find_spec("roiextractors")
        package = types.ModuleType("roiextractors")
        package.__path__ = list(
            found.submodule_search_locations
        )  # its __init__ would import every class on its own base
        sys.modules["roiextractors"] = package
        importlib.import_module("roiextractors.imagingextractor").ImagingExtractor = roi.ImagingExtractor
    classes = vars(importlib.import_module("roiextractors.extractorlist"))
    tools = importlib.import_module("roiextractors.extraction_tools")
    return types.SimpleNamespace(**{name: classes[name] for name in CLASSES}, VideoStructure=tools.VideoStructure)


def main(base: str, folder: str, data: str | None = None) -> None:
    warnings.simplefilter("ignore")
    if not (Path(folder) / "movie.npy").exists():
        generate(Path(folder))
    rx = _roiextractors(base == "ours")
    result = {}
    for name, make in cases(rx, Path(folder), Path(data) if data else None):
        try:
            result[name] = facts(make)
        except Exception as error:
            result[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
