"""A stand-in for a tensor: what is done to it becomes an equation.

Torch hands every function call on a proxy to ``__torch_function__``; operators and methods arrive
here directly.  What each torch function means in equations stands in :mod:`unrolled.functions`,
which fills the registry below.  The derivative rules of :mod:`unrolled.ops` are written on proxies
too.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any, NoReturn

import torch

from unrolled import rules
from unrolled.builder import Builder
from unrolled.errors import CellError, UnknownAttribute
from unrolled.ir import Shape, Var

FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""What a torch function of this name means on proxies, as a function and as a method."""

_SPELLINGS = {"axis": "dim", "keepdims": "keepdim"}
"""Names of arguments that torch takes for another, after numpy."""

CONCRETE = {"item", "tolist", "numpy", "cpu", "cuda", "data_ptr", "nonzero"}
"""Methods that need numbers, of which a trace has none."""


def register(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say what the torch functions and methods of these names mean on proxies."""

    def add(handler: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(names, handler))
        return handler

    return add


def _binary(function: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: call(self, function, (self, other), {})


def _reflected(function: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: call(self, function, (other, self), {})


def _unary(function: str) -> Callable[[Any], Any]:
    return lambda self: call(self, function, (self,), {})


def _refused(symbol: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: _in_place(self, f"`{symbol}` on")


class Proxy:
    """A value of the step being traced: one example at one time step."""

    __slots__ = ("builder", "dtype", "real_dtype", "value")
    __hash__ = object.__hash__

    def __init__(self, builder: Builder, var: Var, dtype: torch.dtype = torch.float32) -> None:
        self.builder = builder
        self.value = var
        self.dtype = torch.bool if var.dtype == "bool" else dtype
        # The floating type of the trace, also of a proxy of a comparison's result.
        self.real_dtype = dtype

    def emit(self, op: str, *others: Any, **attributes: Any) -> Proxy:
        """Append an equation of the op table with this proxy as first operand."""
        args = [o.value if isinstance(o, Proxy) else float(o) for o in others]
        var = self.builder.emit(op, self.value, *args, **attributes)
        return Proxy(self.builder, var, self.real_dtype)

    def fail(self, problem: str, hint: str = "") -> NoReturn:
        """Raise :class:`CellError` at the user's line."""
        raise CellError(problem, hint, self.builder.locate())

    # -- operators

    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("sub"), _reflected("sub")
    __mul__, __rmul__ = _binary("mul"), _reflected("mul")
    __truediv__, __rtruediv__ = _binary("div"), _reflected("div")
    __pow__, __rpow__ = _binary("pow"), _reflected("pow")
    __matmul__, __rmatmul__ = _binary("matmul"), _reflected("matmul")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _reflected("floor_divide")
    __mod__, __rmod__ = _binary("remainder"), _reflected("remainder")
    __and__, __rand__ = _binary("logical_and"), _reflected("logical_and")
    __or__, __ror__ = _binary("logical_or"), _reflected("logical_or")
    __xor__, __rxor__ = _binary("logical_xor"), _reflected("logical_xor")
    __lt__ = _binary("lt")
    __le__ = _binary("le")
    __gt__ = _binary("gt")
    __ge__ = _binary("ge")
    __eq__, __ne__ = _binary("eq"), _binary("ne")  # type: ignore[assignment]
    __neg__, __abs__, __invert__ = _unary("neg"), _unary("abs"), _unary("logical_not")
    __iadd__ = _refused("+=")
    __isub__ = _refused("-=")
    __imul__ = _refused("*=")
    __itruediv__ = _refused("/=")
    __ifloordiv__ = _refused("//=")
    __imod__ = _refused("%=")
    __ipow__ = _refused("**=")
    __imatmul__ = _refused("@=")
    __iand__ = _refused("&=")
    __ior__ = _refused("|=")
    __ixor__ = _refused("^=")

    def __pos__(self) -> Proxy:
        return self

    # -- what a tensor says of itself

    @property
    def shape(self) -> Shape:
        return self.value.shape

    @property
    def ndim(self) -> int:
        return len(self.value.shape)

    @property
    def per_step(self) -> bool:
        return self.value.per_step

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def T(self) -> Proxy:
        return FUNCTIONS["t"](self)

    @property
    def mT(self) -> Proxy:
        return FUNCTIONS["t"](self)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return self.ndim

    def numel(self) -> int:
        n: int = 1
        for s in self.shape:
            n = s * n
        return n

    def __len__(self) -> int:
        if not self.shape:
            self.fail(f"len() of the scalar {self.value}")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return iter([self[k] for k in range(len(self))])

    def __repr__(self) -> str:
        return f"<traced {self.value}>"

    # -- where torch and Python hand over

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        first = next(p for p in _flat((args, kwargs or {})) if isinstance(p, Proxy))
        return call(first, getattr(func, "__name__", str(func)), args, kwargs or {})

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> Any:
        """An operator with a numpy number on its left comes here; numpy's functions are refused."""
        first, name = inputs[0], ufunc.__name__
        name = {"power": "pow", "equal": "eq"}.get(name, name)
        if len(inputs) == 2 and isinstance(first, Real) and name in FUNCTIONS:
            return call(self, name, (float(first), self), {})
        self.fail(
            f"numpy's {ufunc.__name__} needs the numbers of {self.value}, which are not known when "
            "the cell is compiled",
            "use torch's function of that name, and torch.as_tensor(array) for an array",
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        _number(self, "a numpy array")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if callable(getattr(torch.Tensor, name, None)):
            return lambda *args, **kwargs: call(self, name, (self, *args), kwargs)
        if hasattr(torch.Tensor, name):
            problem = f".{name} of {self.value} is not known when the cell is compiled"
            hint = "a step knows the shape, ndim, dtype and device of a value"
        else:
            problem, hint = f"a tensor has no .{name}, nor has {self.value}", _close(name)
        raise UnknownAttribute(problem, hint, self.builder.locate())

    def __getitem__(self, index: Any) -> Any:
        return rules.apply("__getitem__", FUNCTIONS["__getitem__"], (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        _in_place(self, "an assignment to a part of")

    def __bool__(self) -> bool:
        self.fail(
            f"a branch on {self.value}: its number is not known when the cell is compiled",
            "choose per element with torch.where(condition, a, b), join conditions with & and |; "
            "an `if` on a static option is fine",
        )

    def __float__(self) -> float:
        _number(self, "float()")

    def __int__(self) -> int:
        _number(self, "int()")

    def __index__(self) -> int:
        _number(self, "an index or a range")

    def __round__(self, _: Any = None) -> Any:
        _number(self, "round()")

    def __format__(self, spec: str) -> str:
        return _number(self, f"the format {spec!r}") if spec else repr(self)


def call(proxy: Proxy, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the torch function ``name`` means on proxies, or an error at the user's line."""
    handler = FUNCTIONS.get(name) or FUNCTIONS.get(name.removeprefix("special_"))
    if handler is None:
        if name in CONCRETE:
            _number(proxy, f".{name}()")
        if name.endswith("_") and not name.endswith("__"):
            _in_place(proxy, f"{name} on")
        proxy.fail(f"{name} is not among the functions that a cell can use", _close(name))
    if kwargs.get("inplace"):
        _in_place(proxy, f"{name} with inplace=True on")
    if kwargs.get("out") is not None:
        _in_place(proxy, f"{name} with out= on")
    given = {_SPELLINGS.get(k, k): v for k, v in kwargs.items() if k not in ("inplace", "out")}
    try:
        inspect.signature(handler).bind(*args, **given)
        return rules.apply(name, handler, args, given)
    except CellError as error:
        if error.location is not None:
            raise
        raise CellError(error.problem, error.hint, proxy.builder.locate()) from None
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        hint = f"a cell can use {name}{_arguments(handler)}"
        raise CellError(f"{name}: {error}", hint, proxy.builder.locate()) from error


def _arguments(handler: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(handler)
    names = [
        p.replace(annotation=p.empty)
        for p in signature.parameters.values()
        if not p.name.startswith("_")
    ]
    return signature.replace(parameters=names, return_annotation=signature.empty)


def _close(name: str) -> str:
    close = difflib.get_close_matches(name, FUNCTIONS, n=3, cutoff=0.6)
    return (f"close to it: {', '.join(close)}; " if close else "") + (
        "write it with other functions, or add it as CONTRIBUTING.md says"
    )


def _number(proxy: Proxy, what: str) -> NoReturn:
    proxy.fail(
        f"{what} needs the number of {proxy.value}, which is not known when the cell is compiled",
        "keep it a tensor: arithmetic, comparisons and torch.where work on traced values",
    )


def _in_place(proxy: Proxy, what: str) -> NoReturn:
    proxy.fail(
        f"{what} {proxy.value} writes in place: a step computes new values from old ones",
        "make a new value, as in h = h + x; put vectors together with torch.cat or torch.stack",
    )


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = tuple(value.values())  # type: ignore[arg-type]
    if isinstance(value, (tuple, list)):
        for item in value:  # type: ignore[misc]
            yield from _flat(item)
    else:
        yield value
