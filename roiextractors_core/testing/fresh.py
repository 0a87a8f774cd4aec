"""Jobs that need a fresh process: importing declarations, unpickling, cutting files, watching what opening does.

A job is a function of this module that takes its arguments and yields plain dictionaries.  The process gets the
caller's ``sys.path`` and is ended when its time is up, so that a hang is an answer too.
"""

from __future__ import annotations

import builtins
import gc
import hashlib
import importlib
import inspect
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import DeclarationError, PluginError, RangeTypeError, RoiExtractorsError, printable
from .descriptors import held_open

if TYPE_CHECKING:
    import numpy as np

    from ..imaging.extractor import ImagingExtractor
    from ..registry.spec import FormatSpec
    from ..segmentation.extractor import SegmentationExtractor
    from .cuts import Damage

__all__ = ["HANGS", "Outcome", "digest", "in_fresh_process"]

_SECONDS = 60.0  # far beyond what a job takes
HANGS = f"it did not end within {_SECONDS:g} s"
_START = "import sys; from roiextractors_core.testing import fresh; fresh.run_job(sys.argv[1], sys.argv[2])"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job in a fresh process came to.

    Attributes
    ----------
    answers : tuple of dict
        What it yielded, up to the end or to where it was stopped.
    timed_out : bool
    failure : str
        The last lines of its error output when it ended by an error; empty otherwise.
    """

    answers: tuple[dict[str, Any], ...]
    timed_out: bool
    failure: str

    @property
    def last(self) -> dict[str, Any]:
        """The last answer; an empty one when there is none."""
        return self.answers[-1] if self.answers else {}


def in_fresh_process(
    job: str,
    arguments: Mapping[str, Any],
    *,
    seconds: float = _SECONDS,
    folders: Iterable[Path] = (),
    hash_seed: int | None = None,
) -> Outcome:
    """Run a job of this module in a process of its own.

    Parameters
    ----------
    job : str
        The function's name.
    arguments : mapping
        What pickles.
    seconds : float
        After this long the process is ended.
    folders : iterable of pathlib.Path
        Put before the caller's ``sys.path``.
    hash_seed : int, optional
        ``PYTHONHASHSEED`` of the process.
    """
    with tempfile.TemporaryDirectory(prefix="roiextractors-", ignore_cleanup_errors=True) as place:
        work = Path(place)
        (work / "arguments").write_bytes(pickle.dumps(dict(arguments)))
        paths = [*map(str, folders), *(os.path.abspath(entry) for entry in sys.path if entry)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}
        if hash_seed is not None:
            environment["PYTHONHASHSEED"] = str(hash_seed)
        command = [sys.executable, "-B", "-c", _START, job, place]
        timed_out, code = False, 0
        with (work / "output").open("wb") as output, (work / "errors").open("wb") as errors:
            try:
                code = subprocess.run(
                    command,
                    env=environment,
                    cwd=place,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=errors,
                    timeout=seconds,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                timed_out = True
        said = (work / "errors").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        failure = "" if code == 0 or timed_out else " / ".join(said[-3:]) or f"it ended with status {code}"
        return Outcome(_answers(work / "answers"), timed_out, failure)


def _answers(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.exists():
        return ()
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # the last line may be cut where the process was ended
            found.append(json.loads(line))
    return tuple(found)


def run_job(job: str, place: str) -> None:
    """Run a job in this process; the fresh process starts here."""
    work = Path(place)
    arguments = pickle.loads((work / "arguments").read_bytes())  # noqa: S301 - the caller wrote it a moment ago
    with (work / "answers").open("w", encoding="utf-8") as stream:
        for answer in _JOBS[job](**arguments):
            stream.write(json.dumps(answer, default=repr) + "\n")
            stream.flush()


def digest(array: np.ndarray) -> str:
    """Return a fingerprint of an array's dtype, shape and values."""
    import numpy as np

    whole = np.ascontiguousarray(array)
    return hashlib.sha256(f"{whole.dtype.str}{array.shape}".encode() + whole.tobytes()).hexdigest()


# What declares


def import_declarations(module: str) -> Iterator[dict[str, Any]]:
    """Import an entry point, and return its formats, its seconds and the modules that it imported."""
    import roiextractors_core as roi
    from roiextractors_core.registry.discovery import declared_formats

    for name in roi.__all__:  # what the core brings along is not counted against the plugin
        getattr(roi, name)
    importlib.import_module("pluggy")
    before = set(sys.modules)
    package = module.partition(".")[0]
    imports: list[tuple[str, str]] = []
    started = time.perf_counter()
    stage, reason, specs = "entry point", "", cast("tuple[FormatSpec, ...]", ())
    with _imports_by(package, imports):
        try:
            declaring = _import_object(module)
            stage = "hook"
            specs = declared_formats(declaring)
        except DeclarationError as error:
            reason = printable(error)
        except BaseException as error:  # noqa: BLE001 - the border to the plugin: it may even call sys.exit
            where = "importing it" if stage == "entry point" else "its hook"
            reason = f"{where} raised {type(error).__name__}: {printable(error)}"
    seconds = time.perf_counter() - started
    yield {
        "stage": stage,
        "reason": reason,
        "seconds": seconds,
        "modules": sorted(set(sys.modules) - before),
        "imports": sorted(set(imports)),
        "formats": [spec.to_dict() for spec in specs],
    }


def _import_object(value: str) -> Any:
    """Return the object that an entry point names: a module, or an attribute of one."""
    module, _, attributes = value.partition(":")
    found: Any = importlib.import_module(module.strip())
    for name in filter(None, attributes.strip().split(".")):
        found = getattr(found, name)
    return found


@contextmanager
def _imports_by(package: str, found: list[tuple[str, str]]) -> Iterator[None]:
    """Note which modules the modules of a package import, loaded already or not."""
    original = builtins.__import__

    def noted(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        importer = str((globals or {}).get("__name__", ""))
        if importer.partition(".")[0] == package:
            if level:
                base = str((globals or {}).get("__package__") or importer)
                name_found = ".".join([*base.split(".")[: len(base.split(".")) - level + 1], *([name] if name else [])])
            else:
                name_found = name
            found.append((importer, name_found))
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = noted
    try:
        yield
    finally:
        builtins.__import__ = original


def import_extractors(specs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Import the extractor classes and probes of declarations, and report their faults."""
    from roiextractors_core.registry.spec import FormatSpec

    for data in specs:
        spec = FormatSpec.from_dict(data)
        yield {"format": spec.name, "faults": list(extractor_faults(spec))}


def extractor_faults(spec: FormatSpec) -> Iterator[str]:
    """Yield the faults of the class that a declaration names."""
    from roiextractors_core.extractor import Extractor

    try:
        found = spec.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to the plugin
        yield f"importing {spec.extractor} raised {type(error).__name__}: {printable(error)}"
        return
    if not issubclass(found, Extractor) or found.kind != spec.kind:
        yield f"{spec.extractor} does not inherit from roiextractors_core.{spec.kind.capitalize()}Extractor"
        return
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        yield f"{spec.extractor} lacks {', '.join(missing)}; write {'it' if len(missing) == 1 else 'them'}"
    yield from _constructor_faults(spec, found)
    for function in _probes(spec.to_dict()["evidence"]):
        module, _, name = function.partition(":")
        try:
            if not callable(getattr(importlib.import_module(module), name)):
                yield f"the probe {function} is not a function"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to the plugin
            yield f"the probe {function} cannot be imported: {type(error).__name__}: {printable(error)}"


def _constructor_faults(spec: FormatSpec, found: type[Any]) -> Iterator[str]:
    parameters = list(inspect.signature(found.__init__).parameters.values())[1:]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    if not positional:
        yield f"{spec.extractor} takes no path: the first parameter of __init__ is the file's or folder's path"
        return
    first = positional[0]
    rest = [p for p in parameters if p is not first]
    needed = [p.name for p in rest if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if needed:
        yield f"{spec.extractor} cannot be made from a path alone: give {', '.join(needed)} a default"
    if any(p.kind is p.VAR_KEYWORD for p in rest):
        yield f"{spec.extractor} takes **keywords, so a misspelt option goes unnoticed: name its options one by one"
    else:
        lacking = [name for name in spec.streams if name not in {p.name for p in rest}]
        if lacking:
            yield f"FormatSpec.streams names {', '.join(lacking)}, and {spec.extractor} takes no such option"


def _probes(evidence: Any) -> Iterator[str]:
    if not isinstance(evidence, dict):
        return
    if evidence["kind"] == "probe":
        yield evidence["function"]
    for part in evidence.get("parts", ()):
        yield from _probes(part)


def claim_foreign(specs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Tell which of the kit's foreign files each format claims."""
    from roiextractors_core.registry.spec import FormatSpec
    from roiextractors_core.testing.foreign import foreign_claims

    for data in specs:
        spec = FormatSpec.from_dict(data)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            claims = [claim.to_dict() for claim in foreign_claims(spec, Path(folder))]
        yield {"format": spec.name, "claims": claims}


def look_over(module: str) -> Iterator[dict[str, Any]]:
    """Import an entry point, then the extractors that it declares, then ask it about foreign files."""
    (declared,) = import_declarations(module)
    yield declared
    for data in declared["formats"]:
        for answer in import_extractors([data]):
            yield {"stage": "extractor", **answer}
        yield {"stage": "random bytes", "format": data["name"], "claims": _claims_of_random_bytes(data)}
        for answer in claim_foreign([data]):
            yield {"stage": "foreign files", **answer}


def _claims_of_random_bytes(data: dict[str, Any]) -> tuple[str, ...]:
    from roiextractors_core.registry.spec import FormatSpec
    from roiextractors_core.testing.foreign import random_claims

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return random_claims(FormatSpec.from_dict(data), Path(folder))


# What opens


def unpickle(pickles: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Restore recordings from their pickles, and report their content."""
    for name, pickled in pickles.items():
        try:
            recording = pickle.loads(pickled)  # noqa: S301 - made a moment ago by the test that asks
            yield {"name": name, "error": "", **summary(recording)}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to the plugin
            yield {"name": name, "error": f"{type(error).__name__}: {printable(error)}"}


def summary(recording: Any) -> dict[str, Any]:
    """Return the visible state of a recording or a segmentation, with pixels, traces and times as fingerprints."""
    if recording.kind == "segmentation":
        return _summary_of_rois(recording)
    source = recording.times_source
    return {
        "class": type(recording).__name__,
        "shape": list(recording.shape),
        "dtype": str(recording.dtype),
        "pixels": digest(recording.get_series()),
        "rate": recording.get_sampling_frequency(),
        "times_source": source,
        "times": "" if source is None else digest(recording.get_timestamps()),
        "format": recording.provenance.format,
    }


def _summary_of_rois(rois: SegmentationExtractor) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ids": list(rois.get_roi_ids()),
        "shape": list(rois.get_mask_shape()),
        "samples": int(rois.get_num_samples()),
        "rate": rois.get_sampling_frequency(),
    }
    if rois.has_masks:
        masks = rois.get_roi_masks()
        found["masks"] = [digest(part) for part in (masks.offsets, masks.pixels, masks.weights)]
    found["traces"] = {name: digest(trace) for name, trace in rois.get_traces_dict().items()}
    found["images"] = {name: digest(image) for name, image in rois.get_images_dict().items()}
    found["properties"] = {key: repr(rois.get_property(key).tolist()) for key in rois.get_property_keys()}
    found["times"] = digest(rois.get_timestamps()) if rois.times_source is not None else ""
    return found


def list_streams(spec: dict[str, Any], recording: Any) -> Iterator[dict[str, Any]]:
    """List the streams of a recording."""
    import roiextractors_core as roi

    _ensure_registered(spec)
    yield {"streams": roi.streams(recording, format=spec["name"])}


def open_damaged(
    spec: dict[str, Any], recording: Any, damages: list[Damage], expected: Any, times: Any, options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Open a recording, then with each damage of a file in turn, and report the outcome of each.

    Parameters
    ----------
    spec : dict
        The format's declaration; registered for the session where it is not installed.
    recording : str or list of str
        A copy, which is damaged.
    damages : list of Damage
    expected, times : numpy.ndarray or None
        The samples of the whole recording.
    options : mapping
        For ``open``.
    """
    _ensure_registered(spec)
    name = spec["name"]
    whole = _open_one(name, recording, expected, times, options)
    yield {"words": "a whole copy", **whole}
    known = whole.get("missing", ())
    gc.collect()
    gc.freeze()  # the libraries that were imported need not be searched after every cut
    for number, damage in enumerate(damages):
        originals = {path: path.read_bytes() for path in damage.paths}
        damage.apply(originals)
        original = originals[damage.paths[0]]
        place = {"damage": number, "words": damage.words, "of": len(original), "lost": damage.lost(original)}
        yield {**place, "outcome": "begun"}
        before = _most_memory()
        answer = _open_one(name, recording, expected, times, options, known)
        gc.collect()
        grown = _most_memory() - before
        held = held_open(list(damage.paths))
        yield {**place, "grown": grown, "open": held, **answer, **_list_one(name, recording, answer)}
        for path, content in originals.items():
            path.write_bytes(content)


def open_replaced(
    spec: dict[str, Any], recording: Any, files: list[str], options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Open a recording with a pipe, a device or an endless file in place of one of its files, and report the outcome of each.

    Parameters
    ----------
    spec : dict
    recording : str or list of str
        A copy, whose files are replaced.
    files : list of str
        Paths of the files.
    options : mapping
        For ``open``.
    """
    _ensure_registered(spec)
    yield {"file": "", "kind": "nothing", **_open_replaced(spec["name"], recording, options)}
    for name in files:
        path = Path(name)
        original = path.read_bytes()
        for kind in ("a pipe", "a link to /dev/zero", "a file that continues with 64 GiB of zeros"):
            path.unlink(missing_ok=True)
            if kind == "a pipe":
                os.mkfifo(path)
            elif kind == "a link to /dev/zero":
                path.symlink_to("/dev/zero")
            else:
                path.write_bytes(original)
                os.truncate(path, 64 << 30)
            yield {"file": path.name, "kind": kind, "outcome": "begun"}
            before, start = _most_memory(), time.monotonic()
            answer = _open_replaced(spec["name"], recording, options)
            grown, seconds = _most_memory() - before, time.monotonic() - start
            yield {"file": path.name, "kind": kind, "grown": grown, "seconds": seconds, **answer}
            path.unlink(missing_ok=True)
        path.write_bytes(original)


def _open_replaced(name: str, recording: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    import roiextractors_core as roi

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            roi.explain(recording)
            with roi.open(recording, format=name, **options) as opened:
                if len(opened):
                    opened.get_series(0, 1)
                opened.metadata.to_dict()
        return {"outcome": "read"}
    except PluginError as error:
        return {"outcome": "crash", "words": printable(error)}
    except RoiExtractorsError as error:
        return {"outcome": "error", "words": f"{type(error).__name__}: {printable(error)}"}
    except BaseException as error:  # noqa: BLE001 - the border to the plugin
        return {"outcome": "crash", "words": f"{type(error).__name__}: {printable(error)}"}


def _open_one(
    name: str, recording: Any, expected: Any, times: Any, options: Mapping[str, Any], known: Sequence[int] = ()
) -> dict[str, Any]:
    import roiextractors_core as roi

    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with roi.open(recording, format=name, **options) as opened:
                notes = list(opened.get_notes())
                answer = _compare(opened, expected, times, known)
        warned = [str(w.message) for w in caught if issubclass(w.category, roi.RoiExtractorsWarning)]
        return {"outcome": "read", "warnings": warned, "notes": notes, **answer}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to the plugin
        return _error_of(error)


def _error_of(error: BaseException) -> dict[str, Any]:
    cause = error.__cause__ if isinstance(error, PluginError) and error.__cause__ is not None else error
    # These mean a mistake of the plugin, not of the file
    mistakes = (PluginError, DeclarationError, RangeTypeError, NotImplementedError)
    clear = isinstance(error, RoiExtractorsError) and not isinstance(error, mistakes)
    return {"outcome": "error" if clear else "crash", "error": f"{type(cause).__name__}: {printable(cause)}"}


def _list_one(name: str, recording: Any, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the crash of listing the streams of a damaged recording, where there is one and opening did not crash."""
    import roiextractors_core as roi

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            roi.streams(recording, format=name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to the plugin
        listed = _error_of(error)
        if listed["outcome"] == "crash" and answer["outcome"] != "crash" and not isinstance(error, OSError):
            return {"outcome": "crash", "error": f"roi.streams raised {listed['error']}"}
    return {}


def _compare(opened: ImagingExtractor, expected: Any, times: Any, known: Sequence[int]) -> dict[str, Any]:
    count = len(opened)
    missing = [] if opened.keeps_missing_samples else opened.get_missing_samples().tolist()
    places = _places_in_whole(len(expected), known, missing)[:count].tolist() if missing else None
    wrong, places = _wrong_pixels(opened, expected, places)
    wrong = wrong or _wrong_times(opened, times, places)
    repr(opened)
    metadata = {key: value for key, value in opened.metadata.to_dict().items() if key != "vendor"}
    facts = {"sampling frequency": opened.get_sampling_frequency(), **metadata}
    return {
        "count": count,
        "wrong": wrong,
        "missing": missing,
        "facts": facts,
        "times_source": opened.times_source,
    }


def _wrong_pixels(opened: ImagingExtractor, expected: Any, places: list[int] | None) -> tuple[str, list[int]]:
    """Return what is wrong with the pixels, and which samples of the whole recording they are."""
    count = len(opened)
    series = opened.get_series()
    if count > len(expected):
        return f"it claims {count:,} samples, but the whole recording has {len(expected):,}", []
    if series.shape != (count, *expected.shape[1:]):
        return f"get_series() gave shape {series.shape} for {count:,} samples", []
    if places is not None and len(places) < count:
        listed = f"the whole recording has {len(places):,} that it does not list as missing"
        return f"it has {count:,} samples, but {listed}", []
    kept: list[int] = []
    # In order, and perhaps without some in the middle, where one file of several is damaged
    for sample, pixels in enumerate(series):
        following = range(kept[-1] + 1 if kept else 0, len(expected)) if places is None else places[sample : sample + 1]
        at = next((k for k in following if same_values(pixels, expected[k])), None)
        if at is None:
            return f"sample {sample:,} of the {count:,} that it offers is not what was recorded", []
        kept.append(at)
    return "", kept


def _wrong_times(opened: ImagingExtractor, times: Any, kept: list[int]) -> str:
    import numpy as np

    from roiextractors_core.errors import TimesError

    count = len(opened)
    native = opened.get_native_timestamps()
    if native is not None and len(native) != count:
        return f"get_native_timestamps() gave {len(native):,} times for {count:,} samples"
    if times is not None and count and opened.times_source == "native":
        with suppress(TimesError):
            if not np.allclose(opened.get_timestamps(), times[kept], rtol=1e-9, atol=1e-9):
                return "the times of the samples that it offers are not what was recorded"
    return ""


def _places_in_whole(count: int, known: Sequence[int], missing: Sequence[int]) -> np.ndarray:
    """Return which of ``count`` samples of a whole recording are left where these numbers are missing.

    Parameters
    ----------
    count : int
    known : sequence of int
        Which samples of the acquisition the whole recording leaves out.
    missing : sequence of int
        Which ones a damaged copy leaves out.
    """
    import numpy as np

    numbers = np.setdiff1d(np.arange(count + len(known)), known)[:count]
    return np.flatnonzero(~np.isin(numbers, missing))


def same_values(seen: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether two arrays are equal in shape and values; NaN equals NaN."""
    import numpy as np

    return bool(np.array_equal(seen, expected, equal_nan=expected.dtype.kind in "fc" and seen.dtype.kind in "fc"))


def watch_opening(
    spec: dict[str, Any], recording: Any, warm: Any, watched: list[str], options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Open and read a recording, and report the files that it would write and the code that it runs.

    Parameters
    ----------
    spec : dict
    recording : str or list of str
    warm : str or list of str
        A copy, opened first, so that imports are over when the watch begins.
    watched : list of str
        The folders and files whose opening for writing is reported.
    options : mapping
        For ``open``.
    """
    _ensure_registered(spec)
    _look_at_all(warm, spec["name"], options)
    events: list[tuple[str, str]] = []
    package = str(spec["extractor"]).partition(".")[0].partition(":")[0]
    watched = [*watched, os.path.realpath(os.getcwd())]
    on = [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if on and event in _WATCHED:
            events.extend((event, words) for words in _describe_event(event, arguments, watched, package))

    sys.addaudithook(hook)
    _look_at_all(recording, spec["name"], options)
    on.clear()
    yield {"events": events}


def watch_state(spec: dict[str, Any], recording: Any, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Import the plugin of a format, and open a recording for the first time.

    Parameters
    ----------
    spec : dict
        The format.
    recording : str, os.PathLike or a list of them
    options : mapping
        For ``open``.
    """
    import roiextractors_core as roi

    before = process_state()
    _ensure_registered(spec)
    declared = roi.default_registry().snapshot().specs[spec["name"]]
    # Not by open, which runs in a copy of the context: what numpy 2 keeps in the context would change in the copy alone
    extractor = declared.load()
    yield {"stage": "import", "changed": _changes(before)}
    with extractor(recording, **options) as made:
        made.get_series(0, 1)
    yield {"stage": "construction", "changed": _changes(before)}
    with roi.open(recording, format=spec["name"], **options) as opened:
        opened.get_series(0, 1)
    yield {"stage": "open", "changed": _changes(before)}


def process_state() -> dict[str, Any]:
    """Return the state of the process that a plugin must not change."""
    from roiextractors_core.io.process_state import PROCESS_STATE

    levels = {name: getattr(logger, "level", 0) for name, logger in logging.root.manager.loggerDict.items()}
    levels = {
        name: level for name, level in levels.items() if level > logging.WARNING
    }  # PyAV sets the level of its own
    return {**{name: item.get() for name, item in PROCESS_STATE.items()}, "the levels of loggers": levels}


def _changes(before: Mapping[str, Any]) -> list[str]:
    after = process_state()
    return [what for what, value in before.items() if after[what] != value]


_WATCHED = frozenset(
    {
        "open",
        "pickle.find_class",
        "exec",
        "os.chdir",
        "os.remove",
        "os.rename",
        "os.mkdir",
        "os.rmdir",
        "os.truncate",
        "os.utime",
        "os.system",
        "subprocess.Popen",
        "socket.connect",
    }
)


def _describe_event(event: str, arguments: tuple[Any, ...], watched: list[str], package: str) -> Iterator[str]:
    if event == "open":
        path, mode, flags = arguments
        writes = (isinstance(mode, str) and any(c in mode for c in "wax+")) or (
            isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        )
        if writes and isinstance(path, str | bytes) and _lies_in(os.fsdecode(path), watched):
            yield f"it opened {printable(os.fsdecode(path))} for writing"
    elif event == "pickle.find_class":
        yield f"it unpickled {arguments[0]}.{arguments[1]}"
    elif event == "exec":
        code = arguments[0]
        if getattr(code, "co_filename", "") == "<string>" and _called_by(package):
            yield "it ran text as code (eval or exec)"
    elif event == "os.chdir":
        yield f"it changed the working folder to {printable(arguments[0])}"
    elif event.startswith("os.") and event != "os.system":
        paths = [os.fsdecode(a) for a in arguments if isinstance(a, str | bytes)]
        yield from (f"it called {event} on {printable(path)}" for path in paths if _lies_in(path, watched))
    else:
        yield f"it started {printable(repr(arguments[:2]))[:120]} ({event})"


def _lies_in(path: str, watched: list[str]) -> bool:
    whole = os.path.realpath(path)
    return any(whole == folder or whole.startswith(folder + os.sep) for folder in watched)


def _called_by(package: str) -> bool:
    frame = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == package


def _look_at_all(recording: Any, name: str, options: Mapping[str, Any]) -> None:
    import roiextractors_core as roi

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        roi.explain(recording)
        roi.streams(recording, format=name)
        with roi.open(recording, format=name, **options) as opened:
            opened.get_series()
            opened.metadata.to_dict()
            repr(opened)
            if opened.times_source is not None:
                opened.get_timestamps()


def _ensure_registered(spec: dict[str, Any]) -> None:
    from roiextractors_core.registry.registry import default_registry
    from roiextractors_core.registry.spec import FormatSpec

    registry = default_registry()
    if registry.get(spec["name"]) is None:
        registry.register(FormatSpec.from_dict(spec))


def _most_memory() -> int:
    """Return the largest number of bytes that this process has used, or 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


_JOBS: Mapping[str, Callable[..., Iterator[dict[str, Any]]]] = {
    function.__name__: function
    for function in (
        import_declarations,
        look_over,
        unpickle,
        list_streams,
        open_damaged,
        open_replaced,
        watch_opening,
        watch_state,
    )
}
