"""The tests that every plugin inherits, on OME-TIFF recordings of several layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from roiextractors_core.testing import ImagingExtractorTests


class TestVolumesOfTwoChannelsInOneFile(ImagingExtractorTests):
    format = "ometiff"
    open_options = {"channel": "GCaMP"}

    @pytest.fixture
    def movie(self, ome: Any) -> np.ndarray:
        return ome.frames(5, 2, 3, 12, 17)

    @pytest.fixture
    def expected(self, movie: np.ndarray) -> np.ndarray:
        return np.moveaxis(movie[:, 1], 1, 3)

    @pytest.fixture
    def expected_times(self) -> np.ndarray:
        return np.arange(5) * 0.25 + 0.125

    @pytest.fixture
    def expected_rate(self) -> float:
        return 4.0

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("tdTomato", "GCaMP"), "plane": ("0", "1", "2")}

    @pytest.fixture
    def recording(self, ome: Any, tmp_path: Path, movie: np.ndarray) -> Path:
        planes = "".join(
            f'<Plane TheT="{t}" TheC="{c}" TheZ="{z}" DeltaT="{250 * t + 125 * c + 10 * z}" DeltaTUnit="ms" '
            f'PositionZ="{-5 * z}" PositionZUnit="µm"/>'
            for t in range(5)
            for c in range(2)
            for z in range(3)
        )
        return ome.simple(
            tmp_path / "volumes.ome.tif",
            movie,
            planes=planes,
            channels='<Channel ID="Channel:0:0" Name="tdTomato" EmissionWavelength="581"/>'
            '<Channel ID="Channel:0:1" Name="GCaMP" EmissionWavelength="0.513" EmissionWavelengthUnit="µm" ExcitationWavelength="488"/>',
            more='PhysicalSizeX="0.5" PhysicalSizeY="700" PhysicalSizeYUnit="nm" PhysicalSizeZ="5" TimeIncrement="250" TimeIncrementUnit="ms"',
            inside="<AcquisitionDate>2024-03-21T09:05:07.25</AcquisitionDate>",
            order=">",
        )


class TestBigEndianMovieInBigTiff(ImagingExtractorTests):
    format = "ometiff"
    has_own_code = True

    @pytest.fixture
    def expected(self, ome: Any) -> np.ndarray:
        return ome.frames(70, 96, 130, dtype="int16")

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_rate(self) -> float:
        return 1 / 0.033

    @pytest.fixture
    def recording(self, ome: Any, tmp_path: Path, expected: np.ndarray) -> Path:
        movie = expected[:, None, None]
        return ome.simple(tmp_path / "movie.ome.btf", movie, "XYZTC", big=True, order=">", more='TimeIncrement="0.033"')


class _Set:
    """Files of one page each, and the XML that describes them."""

    format = "ometiff"

    @pytest.fixture
    def expected(self, ome: Any) -> np.ndarray:
        return ome.frames(9, 14, 11)

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    def write(self, ome: Any, folder: Path, expected: np.ndarray) -> None:
        names = [f"cell_T{t}.ome.tif" for t in range(len(expected))]
        for t, name in enumerate(names):
            xml = ome.binary_only("cell.companion.ome", uuid="master", own=f"file-{t}")
            ome.tiff(folder / name, [expected[t]], xml)
        data = [ome.data(name, f"file-{t}", IFD=0, FirstT=t) for t, name in enumerate(names)]
        image = ome.pixels("XYCTZ", t=len(expected), frame=expected[0], data=data)
        (folder / "cell.companion.ome").write_text(ome.xml(image, uuid="master"), encoding="utf-8")


class TestASetThroughOneOfItsFiles(_Set, ImagingExtractorTests):
    @pytest.fixture
    def recording(self, ome: Any, tmp_path: Path, expected: np.ndarray) -> Path:
        self.write(ome, tmp_path, expected)
        return tmp_path / "cell_T3.ome.tif"


class TestASetThroughItsCompanion(_Set, ImagingExtractorTests):
    @pytest.fixture
    def recording(self, ome: Any, tmp_path: Path, expected: np.ndarray) -> Path:
        self.write(ome, tmp_path, expected)
        return tmp_path / "cell.companion.ome"


class TestASetThroughItsFolder(_Set, ImagingExtractorTests):
    has_own_code = True

    @pytest.fixture
    def recording(self, ome: Any, tmp_path: Path, expected: np.ndarray) -> Path:
        folder = tmp_path / "cell"
        folder.mkdir()
        self.write(ome, folder, expected)
        return folder


class TestFilesOfSeveralPagesEachWithTheWholeXml(ImagingExtractorTests):
    format = "ometiff"

    @pytest.fixture
    def expected(self, ome: Any) -> np.ndarray:
        return ome.frames(8, 10, 13, 2, dtype="float32")

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"plane": ("0", "1")}

    @pytest.fixture
    def recording(self, ome: Any, tmp_path: Path, expected: np.ndarray) -> list[Path]:
        edges = {"a.ome.tif": (0, 3), "b.ome.tif": (3, 7), "c.ome.tif": (7, 8)}
        data = [ome.data(name, name[0], IFD=0, PlaneCount=2 * (b - a), FirstT=a) for name, (a, b) in edges.items()]
        image = ome.pixels("XYZCT", t=8, z=2, frame=expected[0, :, :, 0], data=data)
        for name, (a, b) in edges.items():
            frames = np.moveaxis(expected[a:b], 3, 1).reshape(-1, 10, 13)
            ome.tiff(tmp_path / name, frames, ome.xml(image, uuid=name[0]))
        return [tmp_path / name for name in edges]


class TestColoursInCompressedTilesWithAPyramid(ImagingExtractorTests):
    format = "ometiff"
    has_own_code = True
    open_options = {"channel": "green"}

    @pytest.fixture
    def movie(self, ome: Any) -> np.ndarray:
        return ome.frames(4, 48, 64, 3, dtype="uint8")

    @pytest.fixture
    def expected(self, movie: np.ndarray) -> np.ndarray:
        return movie[..., 1]

    @pytest.fixture
    def expected_times(self) -> None:
        return None

    @pytest.fixture
    def expected_rate(self) -> None:
        return None

    @pytest.fixture
    def expected_streams(self) -> dict[str, tuple[str, ...]]:
        return {"channel": ("red", "green", "blue")}

    @pytest.fixture
    def recording(self, tmp_path: Path, movie: np.ndarray) -> Path:
        options: dict[str, Any] = {"tile": (16, 16), "compression": "zlib", "photometric": "rgb"}
        with tifffile.TiffWriter(tmp_path / "pyramid.ome.tif", ome=True) as writer:
            writer.write(movie, subifds=1, metadata={"axes": "TYXS"}, **options)
            writer.write(movie[:, ::2, ::2], subfiletype=1, **options)
        return tmp_path / "pyramid.ome.tif"
