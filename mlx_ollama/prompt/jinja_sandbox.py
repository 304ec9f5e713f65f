"""Jinja for templates that nobody has vetted: sandboxed, and every operation charged to a budget.

Jinja's compiler is told to call our checks for loops, `~` and comparisons; operators, calls and subscripts
come through the sandbox's own hooks; filters are wrapped.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from mlx_ollama.prompt.jinja_budget import (
    CONTAINERS,
    budget,
    check_brace_format,
    check_indent,
    check_join,
    check_method,
    check_operator,
    check_percent_format,
    check_replace,
    compared,
    copied,
    counted,
    joined,
    listed,
    printable,
    size_of,
    width_of,
)

_MACRO_STEPS, _FILTER_STEPS = 20, 5  # what a call costs, in steps of a loop
_COUNTED = "counted in loops"  # no template can name it
_OPERATORS = {
    "eq": "==", "ne": "!=", "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<=", "in": "in",
    "notin": "not in",
}  # fmt: skip


class BoundedCode(CodeGenerator):
    """Compiles loops, `~` and comparisons to the checked versions."""

    def visit_Template(self, node: nodes.Template, frame: Any = None) -> None:  # noqa: N802 - Jinja's name
        for loop in node.find_all(nodes.For):
            if loop.recursive:
                self.fail("recursive loops are not supported", loop.lineno)
            loop.iter = nodes.Filter(loop.iter, _COUNTED, [], [], None, None, lineno=loop.lineno)
        super().visit_Template(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:  # noqa: N802
        self.write("environment.concat((")
        for item in node.nodes:
            self.visit(item, frame)
            self.write(", ")
        self.write("))")

    def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:  # noqa: N802
        """A tuple may become a key, and hashing looks through it."""
        if node.ctx != "load":
            return super().visit_Tuple(node, frame)
        self.write("environment.compared(")
        super().visit_Tuple(node, frame)
        return self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Any) -> None:  # noqa: N802
        """Jinja compiles slices to Python's own, past the sandbox."""
        if not isinstance(node.arg, nodes.Slice):
            return super().visit_Getitem(node, frame)
        self.write("environment.copied(")
        self.visit(node.node, frame)
        self.write(")[")
        self.visit(node.arg, frame)
        return self.write("]")

    def visit_Compare(self, node: nodes.Compare, frame: Any) -> None:  # noqa: N802
        self.write("(")
        self._compared(node.expr, frame)
        for operand in node.ops:
            self.write(f" {_OPERATORS[operand.op]} ")
            self._compared(operand.expr, frame)
        self.write(")")

    def _compared(self, node: nodes.Expr, frame: Any) -> None:
        self.write("environment.compared(")
        self.visit(node, frame)
        self.write(")")


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Made by `new_environment`, which also sets its filters."""

    code_generator_class = BoundedCode
    intercepted_binops = frozenset(["+", "*", "**", "%"])
    concat = staticmethod(joined)
    compared = staticmethod(compared)
    copied = staticmethod(copied)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        check_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format`, which the sandbox replaces by its own."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None
        template = str(value.__self__)

        def checked(*args: Any, **kwargs: Any) -> str:
            if value.__name__ != "format":
                check_method("", value.__name__, [])
            check_brace_format(template, [*args, *kwargs.values()])
            return wrapped(*args, **kwargs)

        return checked

    def call(
        *args: Any, **kwargs: Any
    ) -> Any:  # the sandbox's own signature: names belong to the call
        self, context, obj, *rest = args
        budget().step(_MACRO_STEPS if isinstance(obj, Macro) else 1)
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, (str, bytes, int, *CONTAINERS)):
            rest = [listed(argument) for argument in rest]
            check_method(owner, str(getattr(obj, "__name__", "")), [*rest, *kwargs.values()])
        result = ImmutableSandboxedEnvironment.call(self, context, obj, *rest, **kwargs)
        budget().make(size_of(result))
        return result


# ---- filters and tests

_DROPPED = ("xmlattr", "urlize", "pprint", "random", "filesizeformat", "wordwrap")
_CHECKS: dict[str, Callable[..., None]] = {
    "indent": check_indent,
    "replace": check_replace,
    "join": check_join,
    "center": lambda text, width=80: budget().text(size_of(text) + width_of(width)),
    "format": lambda text, *values, **named: check_percent_format(
        printable(text), [*values, *named.values()]
    ),
    "batch": lambda items, count=1, *_: budget().make(width_of(count) * 16),
    "slice": lambda items, count=1, *_: budget().make(width_of(count) * 16),
    "string": lambda value: budget().text(budget().weigh(value)),
    "tojson": lambda value, *_, indent=None, **__: budget().text(
        budget().weigh(value) * (1 + width_of(indent))
    ),
}
_GLANCING = {"first", "last", "length", "count", "default", "d", "items"}
_SEARCHING = {"sort", "unique", "groupby", "min", "max", "sum", "dictsort"}
_COMPARING = {
    "eq", "==", "equalto", "ne", "!=", "gt", ">", "greaterthan", "ge", ">=", "lt", "<", "lessthan",
    "le", "<=", "in",
}  # fmt: skip


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that pays for what it looks at and for what it makes."""
    at = 1 if hasattr(function, "jinja_pass_arg") else 0  # where its value stands

    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        budget().step(_FILTER_STEPS)
        value = listed(args[at]) if len(args) > at else None
        args = (*args[:at], value, *args[at + 1 :])
        if name in _CHECKS:
            _CHECKS[name](*args[at:], **kwargs)
        elif name in _SEARCHING:
            compared(value)
            budget().step(size_of(value) >> 2)
        elif name not in _GLANCING and isinstance(value, CONTAINERS):
            budget().step(len(value))
        budget().make(size_of(value) >> 2)
        result = function(*args, **kwargs)
        budget().make(size_of(result))
        return result

    return bounded


def _bounded_test(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        return function(*map(compared, args), **kwargs)

    return bounded


class _Namespace(Namespace):
    """Names that begin with an underscore would reach into Python."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError("a namespace takes no names that begin with an underscore")
        super().__setitem__(name, value)


def new_environment(filters: dict[str, Callable[..., Any]], **options: Any) -> BoundedEnvironment:
    """An environment with Jinja's own filters and tests, and `filters`, all bounded."""
    environment = BoundedEnvironment(finalize=printable, **options)
    known = {
        name: function
        for name, function in (environment.filters | filters).items()
        if name not in _DROPPED
    }
    environment.filters = {
        name: _bounded_filter(name, function) for name, function in known.items()
    }
    environment.filters[_COUNTED] = counted
    for name in _COMPARING & set(environment.tests):
        environment.tests[name] = _bounded_test(environment.tests[name])
    for name in ("lipsum", "cycler", "joiner"):
        environment.globals.pop(name, None)
    environment.globals["namespace"] = _Namespace
    return environment
