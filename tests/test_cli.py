"""The command: what it prints, and one line and status 2 when something is wrong."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from rich.console import Console

import roiextractors_core as roi
from roiextractors_core.cli import terminal
from roiextractors_core.testing import CalciumImagingExtractor, CalciumSegmentationExtractor

sys.path.insert(0, str(Path(__file__).parent))
from planted.processes import command


@pytest.mark.thorough
def test_the_package_runs_as_the_command(tmp_path: Path) -> None:
    run = functools.partial(subprocess.run, capture_output=True, text=True, cwd=tmp_path, check=False)
    package, command = (
        run([sys.executable, "-m", name, "formats"]) for name in ("roiextractors_core", "roiextractors_core.cli")
    )
    assert package.returncode == 0
    assert package.stdout == command.stdout
    assert "npy" in package.stdout
    assert run([sys.executable, "-m", "roiextractors_core", "info", "not_there"]).returncode == 2


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    np.save(tmp_path / "movie.npy", np.arange(20 * 8 * 9, dtype=np.uint16).reshape(20, 8, 9))
    return tmp_path / "movie.npy"


def test_info_prints_the_facts_and_the_pictures_path(movie: Path) -> None:
    done = command("info", "movie.npy", "--option", "sampling_frequency=10", folder=movie.parent)
    assert done.returncode == 0, done.stderr
    for words in (
        "npy (roiextractors-core",
        "20 samples x 8 rows x 9 columns",
        "10 Hz",
        "0.000000 s to 1.900000 s",
        "picture: movie.npy-preview.png",
    ):
        assert words in done.stdout
    assert (movie.parent / "movie.npy-preview.png").read_bytes().startswith(b"\x89PNG")


def test_info_as_json_parses(movie: Path) -> None:
    (facts,) = json.loads(command("info", "movie.npy", "--json", folder=movie.parent).stdout)
    assert facts["shape"] == [20, 8, 9]
    assert facts["sampling_frequency"] is None


@pytest.mark.quick(1)
@pytest.mark.parametrize("words", [("formats",), ("plugins",), ("explain", "movie.npy"), ("streams", "movie.npy")])
def test_every_table_is_also_json(movie: Path, words: tuple[str, ...]) -> None:
    assert command(*words, folder=movie.parent).returncode == 0
    json.loads(command(*words, "--json", folder=movie.parent).stdout)


@pytest.mark.parametrize("verb", ["info", "explain", "streams"])
@pytest.mark.parametrize(
    ("name", "said"), [("nope.tif", "does not exist"), ("text.tif", "looks like text"), ("empty.tif", "is empty")]
)
def test_what_cannot_be_opened_is_one_line_and_status_2(tmp_path: Path, verb: str, name: str, said: str) -> None:
    (tmp_path / "text.tif").write_text("[bold]hello[/bold]\n")
    (tmp_path / "empty.tif").touch()
    done = command(verb, name, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


READING = {
    "info": ("info",),
    "preview": ("preview",),
    "projections": ("projections", "-o", "out.npz"),
    "convert": ("convert", "out.npy"),
    "streams": ("streams",),
    "explain": ("explain",),
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("verb", READING)
def test_every_command_says_what_is_wrong_with_every_kind_of_broken_input(movie: Path, verb: str) -> None:
    whole = movie.read_bytes()
    folder = movie.parent
    (folder / "cut.npy").write_bytes(whole[:200])
    (folder / "head.npy").write_bytes(whole[:20])
    (folder / "text.tif").write_text("hello\n")
    (folder / "empty.npy").touch()
    (folder / "nothing").mkdir()
    for name, said in {
        "cut.npy": "cut.npy",
        "head.npy": "head.npy",
        "text.tif": "looks like text",
        "empty.npy": "is empty",
        "nothing": "nothing is empty",
        "nowhere.npy": "does not exist",
    }.items():
        command_name, *more = READING[verb]
        done = command(command_name, name, *more, folder=folder)
        # A truncated recording is still recognised; only reading it fails
        may_succeed = verb in ("streams", "explain") and name in ("cut.npy", "head.npy")
        assert done.returncode == (0 if may_succeed and done.returncode == 0 else 2), (name, done.stderr)
        if done.returncode:
            assert said in done.stderr, (name, done.stderr)
            assert len(done.stderr.strip().splitlines()) == 1, (name, done.stderr)
        assert "Aborted" not in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_is_said_in_one_word(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from roiextractors_core.cli import app\n"
        "@app.app.command()\n"
        "def wait(): os.kill(os.getpid(), signal.SIGINT)\n"
        # A process that a shell started in the background ignores SIGINT
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = ['roiextractors', 'wait']\n"
        "app.run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


@pytest.mark.thorough
def test_the_demo_writes_opens_and_draws(tmp_path: Path) -> None:
    done = command("demo", "--samples", "40", "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the pixels of both files agree" in done.stdout
    with tifffile.TiffFile(tmp_path / "out" / "two_photon.tif") as file:
        assert file.is_scanimage
        assert file.is_bigtiff
        pages = file.asarray()
    assert pages.shape == (40, 2, 256, 256) or pages.shape == (80, 256, 256)
    np.testing.assert_array_equal(pages.reshape(40, 2, 256, 256)[:, 0], np.load(tmp_path / "out" / "two_photon.npy"))
    assert (tmp_path / "out" / "two_photon.png").is_file()


@pytest.mark.thorough
def test_a_preview_is_drawn_where_it_is_asked_for_and_nowhere_else(movie: Path) -> None:
    done = command("preview", "movie.npy", "-o", "drawn.png", folder=movie.parent)
    assert (done.returncode, done.stdout) == (0, "picture: drawn.png\n"), done.stderr
    assert (movie.parent / "drawn.png").read_bytes().startswith(b"\x89PNG")
    done = command("preview", "movie.npy", "-o", "movie.npy", folder=movie.parent)
    assert (done.returncode, done.stderr) == (2, "movie.npy: the name of a picture must end in .png\n")


@pytest.mark.thorough
def test_projections_are_written_whole_or_not_at_all(movie: Path) -> None:
    done = command("projections", "movie.npy", "-o", "found.npz", folder=movie.parent)
    assert done.returncode == 0, done.stderr
    assert "correlation (8, 9)" in done.stdout
    with np.load(movie.parent / "found.npz") as found:
        np.testing.assert_allclose(found["mean"], np.load(movie).mean(axis=0))
        assert "times" not in found
    assert sorted(path.name for path in movie.parent.iterdir()) == ["found.npz", "movie.npy"]
    done = command("projections", "movie.npy", "-o", "found.tif", folder=movie.parent)
    assert (done.returncode, done.stderr) == (2, "cannot write found.tif: projections are written as .npz\n")


def test_projections_say_how_many_values_are_left_out(tmp_path: Path) -> None:
    movie = np.ones((5, 4, 6), np.float32)
    movie[:, 0] = np.nan
    np.save(tmp_path / "movie.npy", movie)
    done = command("projections", "movie.npy", "-o", "found.npz", folder=tmp_path)
    assert "left out: 30 values that are NaN or infinite" in done.stdout
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["trace"], np.ones(5))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plane=3", "3"),
        ("channel=1", "1"),
        ("num_planes=2", 2),
        ("rate=15.5", 15.5),
        ("shape=[4, 5]", [4, 5]),
        ("name=007a", "007a"),
    ],
)
def test_what_names_a_stream_stays_text_and_numbers_are_numbers(text: str, value: object) -> None:
    from roiextractors_core.cli.arguments import parse_options

    assert parse_options([text]) == {text.partition("=")[0]: value}


@pytest.mark.thorough
def test_options_of_a_writer_are_passed_and_unknown_ones_refused(movie: Path) -> None:
    done = command("convert", "movie.npy", "a.npy", "--write-option", "level=3", folder=movie.parent)
    words = "the writer of NumPy array has no option 'level'. It takes none\n"
    assert (done.returncode, done.stderr) == (2, words)
    done = command("convert", "movie.npy", "copy.dat", "--target-format", "npy", folder=movie.parent)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(movie.parent / "copy.dat"), np.load(movie))


@pytest.mark.thorough
def test_a_range_is_converted_with_its_times(movie: Path) -> None:
    words = ("convert", "movie.npy", "part.npy", "--samples", "5:15", "--option", "sampling_frequency=10")
    done = command(*words, folder=movie.parent)
    assert (done.returncode, done.stdout) == (0, "wrote part.npy: 10 x 8 x 9, uint16, 1.5 KiB\n"), done.stderr
    (facts,) = json.loads(command("info", "part.npy", "--json", folder=movie.parent).stdout)
    assert facts["first_and_last_time"] == [0.5, 1.4]
    assert facts["times_source"] == "native"
    done = command(*words, folder=movie.parent)
    assert (done.returncode, done.stderr) == (2, "part.npy already exists; pass --overwrite to replace it\n")
    done = command("convert", "movie.npy", "a.npy", "--samples", "many", folder=movie.parent)
    assert (done.returncode, done.stderr) == (2, "--samples 'many' is not a range; use START:END, for example 0:100\n")


@pytest.fixture
def two_channels(tmp_path: Path) -> Path:
    pixels = np.arange(5 * 6 * 7 * 2, dtype=np.uint16).reshape(5, 2, 6, 7)
    tifffile.imwrite(tmp_path / "movie.ome.tif", pixels, metadata={"axes": "TCYX", "Channel": {"Name": ["A b", "C"]}})
    return tmp_path / "movie.ome.tif"


@pytest.mark.thorough
def test_a_stream_is_an_option_and_the_error_says_what_to_type(two_channels: Path) -> None:
    folder = two_channels.parent
    done = command("convert", "movie.ome.tif", "one.npy", folder=folder)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert 'choose one: roiextractors convert movie.ome.tif one.npy --channel "A b"' in done.stderr
    done = command("convert", "movie.ome.tif", "one.npy", "--channel", "D", folder=folder)
    # The choice that does not exist is replaced, not repeated
    assert 'choose one: roiextractors convert movie.ome.tif one.npy --channel "A b"; or' in done.stderr
    done = command("convert", "movie.ome.tif", "one.npy", "--channel", "C", folder=folder)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(folder / "one.npy"), tifffile.imread(two_channels)[:, 1])


@pytest.mark.thorough
def test_a_rate_is_an_option_of_info(movie: Path) -> None:
    done = command("info", "movie.npy", "--no-picture", folder=movie.parent)
    assert "pass --sampling-frequency" in done.stdout
    done = command("info", "movie.npy", "--json", "--sampling-frequency", "12.5", folder=movie.parent)
    assert json.loads(done.stdout)[0]["sampling_frequency"] == 12.5
    done = command("info", "movie.npy", "--sampling-frequency", "0", folder=movie.parent)
    assert (done.returncode, "above 0 Hz" in done.stderr) == (2, True)


@pytest.mark.thorough
def test_short_options(tmp_path: Path) -> None:
    assert command("-h", folder=tmp_path).stdout == command("--help", folder=tmp_path).stdout
    assert command("-V", folder=tmp_path).stdout.startswith("roiextractors-core ")


@pytest.mark.thorough
def test_the_help_has_whole_sentences_in_groups(tmp_path: Path) -> None:
    words = command("--help", folder=tmp_path).stdout
    assert "..." not in words.replace("[ARGS]...", "")
    assert words.index("Every day:") < words.index("  info") < words.index("Formats and detection:")
    assert words.index("  explain") < words.index("For authors of plugins:") < words.index("  new-plugin")
    for line in command("info", "-h", folder=tmp_path).stdout.splitlines():
        assert len(line) <= 80


@pytest.mark.thorough
def test_the_shell_completes_formats_and_streams(tmp_path: Path) -> None:
    def completed(typed: str) -> list[str]:
        words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; sys.argv = ['roiextractors']; import roiextractors_core.cli as c; c.main()",
            ],
            env={**os.environ, "_ROIEXTRACTORS_COMPLETE": "complete_bash", **words},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert completed("roiextractors info --format np") == ["npy"]
    assert "--channel" in completed("roiextractors preview --cha")
    assert completed("roiextractors conv") == ["convert"]


@pytest.mark.thorough
def test_all_channels_are_converted_each_to_a_file_of_its_own(two_channels: Path) -> None:
    folder = two_channels.parent
    done = command("convert", "movie.ome.tif", "out.npy", folder=folder)
    assert done.stderr.strip().endswith("or write each of them to a file of its own: --all")
    (folder / "out_C.npy").touch()
    done = command("convert", "movie.ome.tif", "out.npy", "--all", folder=folder)
    assert (done.returncode, done.stderr) == (2, "out_C.npy already exists; pass --overwrite to replace it\n")
    assert not (folder / "out_A b.npy").exists()  # refused before the first is written
    (folder / "out_C.npy").unlink()
    done = command("convert", "movie.ome.tif", "out.npy", "--all", folder=folder)
    assert done.stdout.splitlines() == [
        "wrote out_A b.npy: 5 x 6 x 7, uint16, 548 bytes",
        "wrote out_C.npy: 5 x 6 x 7, uint16, 548 bytes",
    ]
    pixels = tifffile.imread(two_channels)
    np.testing.assert_array_equal(np.load(folder / "out_A b.npy"), pixels[:, 0])
    np.testing.assert_array_equal(np.load(folder / "out_C.npy"), pixels[:, 1])


def test_what_has_one_stream_is_converted_to_the_target(movie: Path) -> None:
    done = command("convert", "movie.npy", "copy.npy", "--all", folder=movie.parent)
    assert done.stdout.startswith("wrote copy.npy: 20 x 8 x 9, uint16"), done.stderr


@pytest.mark.parametrize(
    ("target", "chosen", "name"),
    [
        ("movie.tif", {"channel": "Channel 1"}, "movie_Channel 1.tif"),
        ("a.b.ome.tif", {"channel": "Red", "plane": "3"}, "a.b_Red_plane 3.ome.tif"),
        ("movie.npy", {"dataset": "/t0/ch:1"}, "movie_-t0-ch-1.npy"),
        ("movie.npy", {}, "movie.npy"),
    ],
)
def test_a_file_is_named_after_its_stream(target: str, chosen: dict[str, str], name: str) -> None:
    from roiextractors_core.cli.facts import stream_target

    assert stream_target(Path("folder") / target, chosen) == Path("folder") / name


def test_explain_shows_who_said_yes_and_all_the_rest(movie: Path) -> None:
    done = command("explain", "movie.npy", folder=movie.parent)
    assert re.search(r"^->  +npy ", done.stdout, re.MULTILINE)
    assert "--all shows why" in done.stdout
    assert "this is not HDF5" not in done.stdout
    whole = command("explain", "movie.npy", "--all", folder=movie.parent).stdout
    assert len(whole.splitlines()) > len(done.stdout.splitlines())
    assert re.search(r"^no  +", whole, re.MULTILINE)
    assert "--all" not in whole


def test_a_folder_that_is_no_recording_advises_to_scan_it(movie: Path) -> None:
    (movie.parent / "x").mkdir()
    (movie.parent / "x" / "notes.txt").write_text("a")
    done = command("info", "x", folder=movie.parent)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("To list the recordings below it: roiextractors scan x")


WIDE_TABLES = [
    ("formats",),
    ("formats", "--all"),
    ("plugins",),
    ("explain", "movie.npy", "--all"),
    ("info", "movie.npy"),
]


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("words", WIDE_TABLES)
def test_no_table_is_cut_into_single_letters(
    movie: Path, words: tuple[str, ...], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from roiextractors_core.cli.app import app

    monkeypatch.chdir(movie.parent)
    monkeypatch.setenv("COLUMNS", str(columns))
    output = CliRunner().invoke(app, [*words]).stdout
    # The first line of explain is a path
    assert max(map(len, output.splitlines()[words[0] == "explain" :])) <= columns
    seen = output.split()
    for word in ("roiextractors-core", "npy", "movie.npy-preview.png"):
        if word in CliRunner().invoke(app, [*words], env={"COLUMNS": "400"}).stdout:
            assert any(word in part for part in seen), f"{word} was cut"


@pytest.mark.thorough
def test_the_channels_of_a_session_are_converted_to_one_file(two_channels: Path) -> None:
    folder = two_channels.parent
    several = ("--write-option", "start_time=2026-01-31T12:00:00+00:00", "--sampling-frequency", "10")
    done = command("convert", "movie.ome.tif", "session.nwb", *several, folder=folder)
    if "writing" in done.stderr and "pip install" in done.stderr:
        pytest.skip("the library that writes NWB is not installed")
    assert done.stderr.strip().endswith("or write all of them to one file: --all")
    done = command("convert", "movie.ome.tif", "session.nwb", "--all", *several, folder=folder)
    assert done.stdout.startswith("wrote session.nwb: A b: 5 x 6 x 7, uint16; C: 5 x 6 x 7, uint16, "), done.stderr
    streams = json.loads(command("streams", "session.nwb", "--json", folder=folder).stdout)
    assert len(streams["series"]) == 2


def test_the_end_of_the_reader_of_the_output_is_no_error(movie: Path) -> None:
    code = "import sys, roiextractors_core.cli as c; sys.argv[0] = 'roiextractors'; c.main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "info", "movie.npy", "--no-picture"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=movie.parent,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_the_format_to_write_is_named_by_its_own_option(movie: Path) -> None:
    done = command("convert", "movie.npy", "a.xyz", folder=movie.parent)
    assert done.returncode == 2
    assert "--format" not in done.stderr
    assert "format=" not in done.stderr


def test_the_message_on_one_of_several_recordings_names_this_one(two_channels: Path) -> None:
    folder = two_channels.parent
    np.save(folder / "movie.npy", np.zeros((3, 4, 5)))
    done = command("info", "movie.npy", "movie.ome.tif", "--channel", "Z", "--no-picture", folder=folder)
    assert done.returncode == 2
    assert 'roiextractors info movie.ome.tif --no-picture --channel "A b"' in done.stderr


@pytest.mark.thorough
def test_the_help_names_arguments_without_the_types_of_python(tmp_path: Path) -> None:
    for verb in ("info", "convert", "scan", "new-plugin", "check-plugin"):
        words = command(verb, "--help", folder=tmp_path).stdout
        assert not re.search(r"<|\bstr\b|[{}]", words.partition("Options that choose")[0]), words
        assert re.search(rf"^Usage: .*{verb} \[OPTIONS\] [A-Z]+", words)


def test_the_path_of_a_card_is_one_line_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "a_folder_of_a_rather_long_name/and_another_one_inside_of_it/movie.npy"
    monkeypatch.setattr(terminal, "_console", lambda file: Console(file=file, width=60))
    terminal.heading(path)
    assert capsys.readouterr().out == f"{path}\n"


@pytest.mark.thorough
def test_the_streams_of_a_file_of_rois_are_those_of_the_rois(tmp_path: Path) -> None:
    movie = CalciumImagingExtractor((30, 32, 32), seed=1, sampling_frequency=30.0, num_cells=3)
    roi.convert(CalciumSegmentationExtractor(movie), tmp_path / "cells.nwb", start_time="2026-01-15T10:30:00+00:00")
    done = command("streams", "cells.nwb", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "cells.nwb has one stream; there is nothing to choose\n")
    done = command("projections", "cells.nwb", "-o", "x.npz", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith("roiextractors info cells.nwb --kind segmentation")


def test_the_time_of_one_sample_is_said_once(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((1, 8, 9)))
    done = command("info", "one.npy", "--sampling-frequency", "10", "--no-picture", folder=tmp_path)
    assert re.search(r"times +0\.000000 s, from the rate\n", done.stdout), done.stdout


def test_an_option_that_the_format_lacks_is_named_as_it_was_typed(movie: Path) -> None:
    done = command("info", "movie.npy", "--plane", "1", folder=movie.parent)
    assert done.returncode == 2
    assert "takes no option --plane" in done.stderr
    assert "--sampling-frequency" in done.stderr


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One input of every kind that is broken."""
    folder = tmp_path_factory.mktemp("broken")
    tifffile.imwrite(folder / "whole.tif", np.arange(6 * 40 * 50, dtype=np.uint16).reshape(6, 40, 50))
    whole = (folder / "whole.tif").read_bytes()
    (folder / "short.tif").write_bytes(whole[:2000])
    (folder / "head.tif").write_bytes(whole[:100])
    (folder / "text.tif").write_text("hello\n")
    (folder / "odd.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    (folder / "random.czi").write_bytes(bytes(range(256)) * 9)
    (folder / "empty.npy").touch()
    np.save(folder / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(folder / "words.npy", np.array(["a", "b"]))
    (folder / "void").mkdir()
    names = (
        "short.tif",
        "head.tif",
        "text.tif",
        "odd.h5",
        "random.czi",
        "empty.npy",
        "pickled.npy",
        "words.npy",
        "void",
    )
    paths = {name: folder / name for name in (*names, "nowhere.tif", "nowhere/at/all.tif")}
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.tif")
        paths["pipe.tif"] = folder / "pipe.tif"
    return {**paths, "url": Path("s3:/bucket/movie.tif")}


ALL_VERBS = {**READING, "scan": ("scan",)}


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_every_error_of_every_command_is_one_sentence_and_status_2(
    broken: dict[str, Path], verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from roiextractors_core.cli.app import app

    monkeypatch.chdir(tmp_path)
    for name, path in broken.items():
        command_name, *more = ALL_VERBS[verb]
        done = CliRunner().invoke(app, [command_name, str(path), *more])
        # What is recognised by its first bytes is broken only for what reads on; a folder may contain nothing
        may_succeed = verb in ("streams", "explain") or (verb == "scan" and name == "void")
        if may_succeed and done.exit_code == 0:
            continue
        assert done.exit_code == 2, (name, done.output, done.exception)
        assert isinstance(done.exception, SystemExit), (name, done.exception)
        lines = [line for line in done.stderr.splitlines() if not line.startswith("warning: ")]
        assert len(lines) == 1, (name, done.stderr)
        assert len(lines[0]) > 15, (name, lines)
        assert not re.search(r"Aborted|Traceback|\bopen\(", lines[0]), (name, lines)
    assert list(tmp_path.iterdir()) == []  # nothing was written on the way


@pytest.mark.parametrize("words", [("--format", "nope"), ("--kind", "nope"), ("--nope", "1"), ("--option", "nope=1")])
@pytest.mark.parametrize("verb", READING)
def test_every_wrong_option_of_every_command_is_status_2(
    movie: Path, verb: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from roiextractors_core.cli.app import app

    monkeypatch.chdir(movie.parent)
    command_name, *more = READING[verb]
    done = CliRunner().invoke(app, [command_name, "movie.npy", *more, *words])
    if verb == "streams" and words[0] == "--option":
        return  # what a format lists does not depend on it
    assert done.exit_code == 2, (done.output, done.exception)
    assert "nope" in done.stderr or f"No such option: {words[0]}" in done.stderr
