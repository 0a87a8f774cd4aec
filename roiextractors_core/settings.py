"""The user's settings: plugins to block and formats to prefer, from the environment and from ``config.toml``."""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import printable

__all__ = ["Settings", "config_file", "read_settings"]

MAX_CONFIG_BYTES = 1 << 16  # a list of names; tomllib needs quadratic time for some texts of several MiB
_KEYS = ("block", "prefer")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that were read once.

    Attributes
    ----------
    block : tuple of str
        Distributions or entry points whose formats are left out.
    prefer : tuple of (str, str)
        Pairs ``(winner, loser)`` of format names.
    notes : tuple of str
        Problems with settings; a wrong setting is never an error.
    """

    block: tuple[str, ...] = ()
    prefer: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def config_file(environment: Mapping[str, str] | None = None) -> Path:
    """Return the path of the user's settings: ``ROIEXTRACTORS_CONFIG``, or the usual place of the system.

    Parameters
    ----------
    environment : mapping, optional
        ``os.environ`` by default.

    Raises
    ------
    RuntimeError
        The home folder of the user could not be determined.
    """
    environment = os.environ if environment is None else environment
    given = environment.get("ROIEXTRACTORS_CONFIG")
    if given:
        return Path(given)
    if sys.platform == "win32":
        folder = Path(environment.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return folder / "roiextractors" / "config.toml"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings of the environment, then those of the config file.

    Parameters
    ----------
    environment : mapping
        Where ``ROIEXTRACTORS_BLOCK``, ``ROIEXTRACTORS_PREFER`` and ``ROIEXTRACTORS_CONFIG`` are looked up.
    """
    config, notes = _read_config(environment)
    block = [*_comma_separated(environment.get("ROIEXTRACTORS_BLOCK", "")), *config.get("block", [])]
    texts = [*_comma_separated(environment.get("ROIEXTRACTORS_PREFER", "")), *config.get("prefer", [])]
    pairs, wrong = _preferences(texts)
    notes += [f"the preference '{printable(text)}' is ignored: it must be 'winner>loser'" for text in wrong]
    return Settings(tuple(block), tuple(pairs), tuple(notes))


def _read_config(environment: Mapping[str, str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the valid keys of the config file, and notes on whatever is wrong with it."""
    try:
        path = config_file(environment)
    except RuntimeError as error:  # what Path.home() raises in a container whose user has no home
        return {}, [f"no settings file was read: {printable(error)}"]
    try:
        content = tomllib.loads(_regular_text(path))
    except FileNotFoundError:
        return {}, []
    except RecursionError:
        return {}, [f"{printable(path)} is ignored: its values are nested too deeply"]
    except (OSError, ValueError) as error:  # ValueError: not TOML, not UTF-8, an integer of 10,000 digits
        return {}, [f"{printable(path)} is ignored: {printable(error)}"]
    wrong = [key for key in content if key not in _KEYS or not _is_list_of_texts(content[key])]
    if not wrong:
        return content, []
    names = ", ".join(f"'{printable(key)}'" for key in wrong)
    note = f"{printable(path)}: {names} ignored; the settings are block = ['plugin', ...] and prefer = ['a>b', ...]"
    return {key: value for key, value in content.items() if key not in wrong}, [note]


def _regular_text(path: Path) -> str:
    """Return the text of a small regular file; opening a pipe would wait, and a device may have no end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a regular file")
    if status.st_size > MAX_CONFIG_BYTES:
        raise OSError(f"it has {status.st_size:,} bytes, more than {MAX_CONFIG_BYTES:,}")
    with path.open("rb") as stream:
        # Limited again, as the file may have grown since it was checked
        return stream.read(MAX_CONFIG_BYTES).decode("utf-8")


def _preferences(texts: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the pairs, and the texts that are not a pair of two names."""
    pairs, wrong = [], []
    for text in texts:
        winner, _, loser = (part.strip() for part in text.partition(">"))
        if winner and loser and ">" not in loser and winner != loser:
            pairs.append((winner, loser))
        else:
            wrong.append(text)
    return pairs, wrong


def _comma_separated(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
