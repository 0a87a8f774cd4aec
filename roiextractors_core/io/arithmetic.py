"""numpy's arithmetic on a recording: computed when pixels are read if that is possible, otherwise an error."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any

import numpy as np

from ..errors import ArithmeticTypeError

__all__ = ["ArrayOperators", "part_of", "result_dtype"]

_Function = np.ufunc | np.dtype


def _operator(function: np.ufunc, *, reflected: bool = False) -> Callable[[Any, Any], Any]:
    def operate(self: Any, other: Any) -> Any:
        if not isinstance(other, Number | np.generic | np.ndarray | ArrayOperators):
            return NotImplemented
        return function(other, self) if reflected else function(self, other)

    return operate


def _unary(function: np.ufunc) -> Callable[[Any], Any]:
    def operate(self: Any) -> Any:
        return function(self)

    return operate


def _comparison(symbol: str) -> Callable[[Any, Any], Any]:
    def compare(self: Any, other: Any) -> Any:
        is_array = hasattr(type(other), "__array__") and not isinstance(other, ArrayOperators)
        if is_array or isinstance(other, Number):  # False would be taken for an answer about the pixels
            raise ArithmeticTypeError(
                f"{symbol} does not compare the pixels of a recording; read them first: recording[...] {symbol} value"
            )
        return NotImplemented

    return compare


class ArrayOperators:
    """What makes a recording an operand of numpy: ``recording - 100``, ``recording / image``, ``numpy.sqrt(recording)``.

    The result is a recording whose pixels are computed when they are read, equal to the same on ``recording[...]``, with numpy's
    own dtype (so ``uint16`` minus 100 stays ``uint16``).  Operands are numbers, and arrays that numpy broadcasts to the
    recording's shape.  Recordings are equal only to themselves; a comparison with pixels is an error.
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def _computed(self, function: _Function, operands: tuple[Any, ...]) -> Any:
        """Return the recording with a function applied; None in ``operands`` is the recording itself."""
        raise NotImplementedError

    def astype(self, dtype: Any, *, copy: bool = True) -> Any:
        """Return a lazy view with another dtype, as ``recording[...].astype(dtype)`` has it.

        Parameters
        ----------
        dtype : numpy.dtype
            A dtype of numbers. As in numpy, nothing checks that the values fit into it.
        copy : bool
            Ignored, for libraries that pass it; no pixel is copied before it is read.
        """
        return self._computed(np.dtype(dtype), (None,))

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        recordings = [x for x in inputs if isinstance(x, ArrayOperators)]
        known = all(isinstance(x, Number | np.generic | np.ndarray | ArrayOperators) for x in inputs)
        is_elementwise = method == "__call__" and function.nout == 1 and function.signature is None
        if options or not (known and is_elementwise) or len(recordings) != 1:
            raise ArithmeticTypeError(_not_lazy(function))
        return recordings[0]._computed(
            function,
            tuple(
                None if isinstance(x, ArrayOperators) else np.array(x)[()] if isinstance(x, np.ndarray) else x
                for x in inputs
            ),
        )

    __add__, __radd__ = _operator(np.add), _operator(np.add, reflected=True)
    __sub__, __rsub__ = _operator(np.subtract), _operator(np.subtract, reflected=True)
    __mul__, __rmul__ = _operator(np.multiply), _operator(np.multiply, reflected=True)
    __truediv__, __rtruediv__ = _operator(np.true_divide), _operator(np.true_divide, reflected=True)
    __floordiv__, __rfloordiv__ = _operator(np.floor_divide), _operator(np.floor_divide, reflected=True)
    __mod__, __rmod__ = _operator(np.remainder), _operator(np.remainder, reflected=True)
    __pow__, __rpow__ = _operator(np.power), _operator(np.power, reflected=True)
    __eq__, __ne__ = _comparison("=="), _comparison("!=")
    __lt__, __le__, __gt__, __ge__ = _comparison("<"), _comparison("<="), _comparison(">"), _comparison(">=")
    __neg__, __pos__, __abs__ = _unary(np.negative), _unary(np.positive), _unary(np.absolute)


def result_dtype(function: _Function, dtype: np.dtype[Any], operands: tuple[Any, ...]) -> np.dtype[Any]:
    """Return the dtype of the pixels.

    Raises
    ------
    ArithmeticTypeError
        numpy does not compute it, or the results are not numbers.
    """
    kinds = "iufc"
    if not isinstance(function, np.ufunc):
        result, kinds = function, "biufc"
    else:
        empty = [
            np.empty(0, dtype if x is None else x.dtype) if x is None or isinstance(x, np.ndarray) else x
            for x in operands
        ]
        result = function(*empty).dtype
    if result.kind not in kinds and result != dtype:
        raise ArithmeticTypeError(_not_lazy(function))
    return result.newbyteorder("=")


def part_of(operand: Any, block: tuple[Any, ...]) -> Any:
    """Return what of an operand belongs to a block: samples, rows, columns and perhaps planes."""
    if not isinstance(operand, np.ndarray):
        return operand
    return operand[tuple(part if n > 1 else slice(None) for n, part in zip(operand.shape, block, strict=True))]


def _not_lazy(function: _Function) -> str:
    name = function.__name__ if isinstance(function, np.ufunc) else f"astype({function})"
    return (
        f"{name} with these arguments cannot be computed while a recording is read; read the pixels first: recording[...], "
        "or use recording.to_dask()"
    )
