"""The words of the command line: what a message says in Python, as it is typed here."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

import roiextractors_core as roi

from ..errors import UnknownFormatError, UnknownOptionError
from ..io.notices import set_within

__all__ = ["LINE", "CommandLine", "about", "advice", "in_command_words", "typed"]

_CALL = re.compile(r"(?<![\w.])(?:roi\.|roiextractors_core\.)?(open|convert)\(")
_KEYWORD = re.compile(r"(?<![\w.'\"(<{=-])([a-z_][a-z0-9_]*)=(?!=)")
_VALUE = re.compile(
    r"'[^']*'|\"[^\"]*\"|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|True|False|None|\([^()]*\)|\[[^\[\]]*\]|<[^<>]*>|\.\.\."
)
_QUOTED = re.compile(r"'([a-z_][a-z0-9_]*)'")
_PLAIN = re.compile(r"[\w@%+=:,./-]+")
_PLACE = re.compile(r"<[^<>]*>")  # to fill in: <Hz>
_WHEN = " when opening"
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command as it was typed.

    Attributes
    ----------
    command : str
        The subcommand: ``"info"``.
    words : tuple of str
        What was typed after it, without the paths.
    paths : tuple of str
        The recordings.
    options : mapping of str to str
        The options of the command by their name in Python: ``{"channel": "--channel"}``.
    flags : frozenset of str
        The options that take no value.
    """

    command: str
    words: tuple[str, ...]
    paths: tuple[str, ...]
    options: Mapping[str, str]
    flags: frozenset[str]

    def translate(self, text: str) -> str:
        """Return a message with its calls of ``open`` as command lines, and its keywords as options.

        Parameters
        ----------
        text : str
            For example ``"choose one: open(..., channel='Channel 2')"``.
        """
        parts, at, is_first = [], 0, True
        while (match := _CALL.search(text, at)) is not None:
            arguments, end = _arguments(text, match.end())
            before = text[at : match.start()]
            whole = is_first and not before.endswith("pass ")
            words = self._call(match[1], arguments, whole=whole) if end else None
            parts.append(self._keywords(before))
            parts.append(text[match.start() : end or match.end()] if words is None else words)
            is_first = is_first and not (whole and words is not None)
            at = end or match.end()
        return "".join((*parts, self._keywords(text[at:])))

    def name_options(self, text: str) -> str:
        """Return a message about options of the format, which it names in quotes, with those that are options here as such."""
        return _QUOTED.sub(lambda match: self.options.get(match[1], match[0]), text)

    def advice(self, error: BaseException) -> str:
        """Return the end of the message on a folder that is not a recording: how to list those in it."""
        if type(error) is not UnknownFormatError:
            return ""
        folder = next(
            (path for path in self.paths if os.path.isdir(path) and os.path.abspath(path) in str(error)), None
        )
        return "" if folder is None else f". To list the recordings below it: roiextractors scan {typed(folder)}"

    def _call(self, function: str, arguments: list[str], *, whole: bool) -> str | None:
        """Return a call as a command line; those after the first one in a message as options alone."""
        options: dict[str, str] = {}
        paths = self.paths
        if arguments == ["..."] or (function == "convert" and "target_format" not in self.options):
            return None  # it only names the function, or another subcommand
        for argument in arguments:
            key, is_keyword, value = argument.partition("=")
            if is_keyword and key.strip().isidentifier():
                name = key.strip()
                options[f"target_{name}" if function == "convert" and name == "format" else name] = value.strip()
            elif argument != "...":
                given = _literal(argument)
                if not isinstance(given, str) and not argument.startswith("<"):
                    return None  # a call with variables is not of this command
                paths, whole = (given if isinstance(given, str) else argument,), True
        if "kind" in options and "kind" not in self.options:  # this command has one kind, and `info` shows all
            where = typed(f"{_literal(options['kind']) or '<kind>'}")
            return " ".join(("roiextractors info", *map(typed, paths), "--kind", where))
        added = [word for name, value in options.items() for word in self._option(name, value)]
        if not whole:
            return " ".join(added)
        return " ".join(("roiextractors", self.command, *map(typed, (*paths, *self._without(options))), *added))

    def _without(self, options: Mapping[str, str]) -> Iterator[str]:
        """Yield the words that were typed without these options: they get other values."""
        flags = {self.options[name] for name in options if name in self.options}
        words = iter(self.words)
        for word in words:
            if word in flags:
                if word not in {self.options[name] for name in self.flags}:
                    next(words, None)
            elif word == "--option":
                value = next(words, "")
                if value.partition("=")[0] not in options:
                    yield from (word, value)
            elif word.partition("=")[0] not in flags:
                yield word

    def _keywords(self, text: str) -> str:
        """Return a text with its ``name=value`` as options, where the name is one."""
        parts, at = [], 0
        for match in _KEYWORD.finditer(text):
            if match.start() < at or not (match[1] in self.options or match[1] in _known_keywords()):
                continue
            value = _VALUE.match(text, match.end())
            # Outside of a call of open, the format is the one to write
            name = "target_format" if match[1] == "format" and "target_format" in self.options else match[1]
            parts += [text[at : match.start()], " ".join(self._option(name, value[0] if value else ""))]
            at = value.end() if value else match.end()
            # An option is always of the call that opens
            at += len(_WHEN) if text.startswith(_WHEN, at) else 0
        return "".join((*parts, text[at:]))

    def _option(self, name: str, value: str) -> list[str]:
        given = _literal(value)
        word = given if isinstance(given, str) else f"<{name}>" if value == "..." else value
        if self._is_write_option(name):
            return ["--write-option", typed(f"{name}={word or '...'}")]
        if name in self.flags and given is True:
            return [self.options[name]]
        if name in self.options and name not in self.flags:
            return [self.options[name], *([typed(word)] if word else [])]
        general = "--write-option" if "--write-option" in self.options.values() and _is_of_writer(name) else "--option"
        return [general, typed(f"{name}={word or '...'}")]

    def _is_write_option(self, name: str) -> bool:
        """Return whether an option was typed as one of the writer, which may have the name of one of this command."""
        pairs = zip(self.words, (*self.words[1:], ""), strict=False)
        return any(f"{word}={following}".startswith(f"--write-option={name}=") for word, following in pairs)


LINE: ContextVar[CommandLine | None] = ContextVar("command_line", default=None)
"""The command that runs, if it is one that opens a recording."""


def in_command_words(message: object) -> str:
    """Return a message, or that of an error, in the words of the command that runs."""
    line, text = LINE.get(), str(message)
    if line is None:
        return text
    if isinstance(message, UnknownOptionError):
        text = line.name_options(text)
    # Most messages name no call and no keyword
    return line.translate(text) if "=" in text or "(" in text else text


@contextmanager
def about(path: str) -> Iterator[None]:
    """Make the messages of a block name this path alone, where several were typed."""
    line = LINE.get()
    with set_within(LINE, None if line is None else replace(line, paths=(path,))):
        yield


def advice(error: BaseException) -> str:
    """Return what to add to the message of an error, in the words of the command that runs; often empty."""
    line = LINE.get()
    return "" if line is None else line.advice(error)


def typed(word: str) -> str:
    """Return a word as it is typed in a shell, in quotes where they are needed."""
    if _PLAIN.fullmatch(word) or _PLACE.fullmatch(word):
        return word
    # Double quotes are those of every shell; shlex takes single ones, which cmd.exe does not know
    return shlex.quote(word) if not word or set(word) & set('"$`\\!') else f'"{word}"'


def _arguments(text: str, start: int) -> tuple[list[str], int]:
    """Return the arguments of a call as text, and where it ends: 0 if it does not."""
    arguments, begin, expected, quote = [], start, [")"], ""
    for at in range(start, len(text)):
        letter = text[at]
        if quote:
            quote = "" if letter == quote and text[at - 1] != "\\" else quote
        elif letter in "'\"":
            quote = letter
        elif letter in _CLOSING:
            expected.append(_CLOSING[letter])
        elif letter == expected[-1]:
            expected.pop()
            if not expected:
                arguments.append(text[begin:at].strip())
                return [argument for argument in arguments if argument], at + 1
        elif letter == "," and len(expected) == 1:
            arguments.append(text[begin:at].strip())
            begin = at + 1
    return [], 0


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def _known_keywords() -> frozenset[str]:
    """Return the keywords of the extractors and writers that have been imported: a message can only be of one of these."""
    return frozenset(name for target in _imported() for name in _keywords_of(target))


def _is_of_writer(name: str) -> bool:
    return any(name in _keywords_of(target) for target in _imported(extractors=False))


def _imported(*, extractors: bool = True) -> Iterator[object]:
    for spec in roi.formats():
        for text in (spec.extractor, spec.writer)[0 if extractors else 1 :]:
            module, _, name = text.partition(":")
            value = getattr(sys.modules.get(module), name, None) if module else None
            if value is not None:
                yield value


def _keywords_of(target: object) -> Iterator[str]:
    try:
        parameters = inspect.signature(target).parameters.values()  # type: ignore[arg-type]
    except (TypeError, ValueError):  # an object without a signature: it has no keywords to name
        return
    yield from (p.name for p in list(parameters)[1:] if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))
