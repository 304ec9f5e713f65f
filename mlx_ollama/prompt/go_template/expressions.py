"""Expressions of a running template: variables, pipelines, fields and calls.

Source: the rules of Go's text/template/exec.
"""

from collections.abc import Mapping

from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.prompt.go_strconv import encode, quote
from mlx_ollama.prompt.go_template.functions import CallError, Function, call
from mlx_ollama.prompt.go_template.limits import MAX_VARIABLES, Limits
from mlx_ollama.prompt.go_template.nodes import (
    BoolNode,
    ChainNode,
    CommandNode,
    DotNode,
    FieldNode,
    IdentifierNode,
    ListNode,
    NilNode,
    Node,
    NumberNode,
    PipeNode,
    StringNode,
    VariableNode,
)
from mlx_ollama.prompt.go_template.values import (
    ANY,
    INVALID,
    NIL,
    STRING,
    Kind,
    Value,
    element,
    indirect,
    map_entry,
    of,
    truth,
    unwrap,
    zero,
)

_MISSING = Value(None, "missing")  # not even nil: no piped value


class Program:
    """A parsed set of templates, ready to run.

    `functions` are the known ones; `missing_key_is_nil` False: a missing map key is nothing at all (Go's
    default), True: the zero value of `any`, on which a further field is an error (what Ollama asks for).
    """

    def __init__(
        self,
        text: str,
        trees: Mapping[str, ListNode],
        functions: Mapping[str, Function],
        *,
        missing_key_is_nil: bool = True,
    ) -> None:
        self.text = text
        self.trees = trees
        self.functions = functions
        self.missing_key_is_nil = missing_key_is_nil


class Expressions:
    """One running template: its variables, innermost last, and the node that an error is laid to."""

    def __init__(self, program: Program, name: str, dot: Value, limits: Limits) -> None:
        self._program = program
        self._name = name
        self._limits = limits
        self._variables: list[tuple[str, list[Value]]] = [("$", [dot])]
        self._node: Node | None = None

    def _error(self, message: str) -> TemplateError:
        """At the node being run: line from 1, column in bytes from 0."""
        position = self._node.position if self._node else 0
        text = self._program.text[:position]
        line = 1 + text.count("\n")
        column = len(encode(text[text.rfind("\n") + 1 :]))
        name = quote(self._name)
        return TemplateError(
            f"template: :{line}:{column}: executing {name} at <{self._node}>: {message}"
        )

    # ---- variables

    def _assign(self, name: str, value: Value) -> None:
        for known, cell in reversed(self._variables):
            if known == name:
                cell[0] = value
                return
        raise self._error(f"undefined variable: {name}")

    def _variable(self, name: str) -> Value:
        for known, cell in reversed(self._variables):
            if known == name:
                return cell[0]
        raise self._error(f"undefined variable: {name}")

    # ---- expressions

    def _pipeline(self, dot: Value, pipe: PipeNode) -> Value:
        self._node = pipe
        value = _MISSING
        for command in pipe.commands:
            value = unwrap(self._command(dot, command, value))
        if len(self._variables) > MAX_VARIABLES:
            raise self._error(f"more than {MAX_VARIABLES} variables")
        for variable in pipe.declared:
            if pipe.is_assignment:
                self._assign(variable.names[0], value)
            else:
                self._variables.append((variable.names[0], [value]))
        return value

    def _command(self, dot: Value, command: CommandNode, final: Value) -> Value:
        self._limits.step()
        first, arguments = command.arguments[0], command.arguments
        match first:
            case FieldNode():
                self._node = first
                return self._fields(dot, first.names, len(arguments) > 1, final)
            case ChainNode():
                return self._chain(dot, first, len(arguments) > 1, final)
            case IdentifierNode():
                return self._function(dot, first, command, arguments[1:], final)
            case PipeNode():
                self._not_a_function(arguments, final)
                return self._pipeline(dot, first)
            case VariableNode():
                self._node = first
                if len(first.names) == 1:
                    self._not_a_function(arguments, final)
                return self._variable_chain(first, len(arguments) > 1, final)
            case _:
                self._node = first
                self._not_a_function(arguments, final)
                return self._literal(dot, first)

    def _not_a_function(self, arguments: list[Node], final: Value) -> None:
        if len(arguments) > 1 or final is not _MISSING:
            raise self._error(f"can't give argument to non-function {arguments[0]}")

    def _literal(self, dot: Value, node: Node) -> Value:
        match node:
            case BoolNode():
                return of(node.value)
            case DotNode():
                return dot
            case StringNode():
                return Value(STRING, node.text)
            case NumberNode():
                return self._constant(node)
            case NilNode():
                raise self._error("nil is not a command")
            case _:
                raise self._error(f"can't evaluate command {quote(str(node))}")

    def _constant(self, node: NumberNode) -> Value:
        if node.value is None:
            raise self._error(f"{node.text} overflows int")
        return of(node.value)

    # ---- fields

    def _chain(self, dot: Value, node: ChainNode, has_arguments: bool, final: Value) -> Value:
        self._node = node
        if isinstance(node.node, NilNode):
            raise self._error(f"indirection through explicit nil in {node}")
        if isinstance(node.node, PipeNode):
            self._node = node.node
            receiver = self._pipeline(dot, node.node)
        else:
            receiver = self._argument(dot, "any", node.node)
        return self._fields(receiver, node.names, has_arguments, final)

    def _variable_chain(self, node: VariableNode, has_arguments: bool, final: Value) -> Value:
        value = self._variable(node.names[0])
        if len(node.names) == 1:
            return value
        return self._fields(value, node.names[1:], has_arguments, final)

    def _fields(
        self, receiver: Value, names: list[str], has_arguments: bool, final: Value
    ) -> Value:
        for name in names[:-1]:
            receiver = self._field(receiver, name, False)
        return self._field(receiver, names[-1], has_arguments or final is not _MISSING)

    def _field(self, outer: Value, name: str, has_arguments: bool) -> Value:
        if outer.type is None:
            return INVALID
        receiver, is_nil = indirect(outer)
        shown = outer.type.name
        if receiver.kind is Kind.INTERFACE and is_nil:
            raise self._error(f"nil pointer evaluating {shown}.{name}")
        if receiver.type is not None and name in receiver.type.methods:
            if has_arguments:
                raise self._error(f"wrong number of args for {name}: want 0 got 1")
            return receiver.type.methods[name](receiver.data)
        if receiver.kind is Kind.STRUCT and receiver.type and name in receiver.type.fields:
            if has_arguments:
                raise self._error(f"{name} has arguments but cannot be invoked as function")
            return element(receiver.type.fields[name], receiver.data[name])
        if receiver.kind is Kind.MAP and receiver.type and receiver.type.key is STRING:
            if has_arguments:
                raise self._error(f"{name} is not a method but has arguments")
            return self._map_field(receiver, name)
        if is_nil and receiver.type and name in _field_names(receiver):
            raise self._error(f"nil pointer evaluating {shown}.{name}")
        raise self._error(f"can't evaluate field {name} in type {shown}")

    def _map_field(self, receiver: Value, name: str) -> Value:
        found = map_entry(receiver, name)
        if found.is_valid or not self._program.missing_key_is_nil or receiver.type is None:
            return found
        return zero(receiver.type.element or ANY)

    # ---- calls

    def _function(
        self,
        dot: Value,
        node: IdentifierNode,
        command: Node,
        arguments: list[Node],
        final: Value,
    ) -> Value:
        self._node = node
        name = node.name
        function = self._program.functions.get(name)
        if function is None:
            raise self._error(f"{quote(name)} is not a defined function")
        self._count(name, function, len(arguments), final is not _MISSING)
        if name in ("and", "or"):
            return self._short_circuit(dot, name == "or", arguments, final)
        values = [
            self._argument(dot, _parameter(function, at), argument)
            for at, argument in enumerate(arguments)
        ]
        if final is not _MISSING:
            values.append(self._checked(final, _parameter(function, len(values))))
        self._limits.scan(sum(map(_size, values)))
        try:
            if name == "call":
                return call(str(arguments[0]) if arguments else "", values[0])
            result = function.call(*values)
        except CallError as error:
            self._node = command
            raise self._error(f"error calling {name}: {error}") from None
        if result.type is STRING:
            self._limits.make(len(result.data))
        return result

    def _count(self, name: str, function: Function, given: int, piped: bool) -> None:
        wanted = len(function.parameters)
        if function.variadic:
            if given + piped < wanted - 1:
                raise self._error(
                    f"wrong number of args for {name}: want at least {wanted - 1} got {given}"
                )
        elif given + piped != wanted:
            raise self._error(f"wrong number of args for {name}: want {wanted} got {given + piped}")

    def _short_circuit(
        self, dot: Value, stop_at: bool, arguments: list[Node], final: Value
    ) -> Value:
        value = INVALID
        for argument in arguments:
            value = self._argument(dot, "value", argument)
            if truth(unwrap(value)) is stop_at:
                return value
        return value if final is _MISSING else final

    def _argument(self, dot: Value, parameter: str, node: Node) -> Value:
        """An argument as the parameter's type wants it (`evalArg`)."""
        self._node = node
        match node:
            case NilNode():
                if parameter == "string":
                    raise self._error("cannot assign nil to string")
                return NIL if parameter == "any" else INVALID
            case DotNode():
                value = dot
            case FieldNode():
                value = self._fields(dot, node.names, False, _MISSING)
            case VariableNode():
                value = self._variable_chain(node, False, _MISSING)
            case PipeNode():
                value = self._pipeline(dot, node)
            case IdentifierNode():
                value = self._function(dot, node, node, [], _MISSING)
            case ChainNode():
                value = self._chain(dot, node, False, _MISSING)
            case _ if parameter == "string" and not isinstance(node, StringNode):
                raise self._error(f"expected string; found {node}")
            case _:
                return self._literal(dot, node)
        return self._checked(value, parameter)

    def _checked(self, value: Value, parameter: str) -> Value:
        """The value if a parameter of that type takes it (`validateType`)."""
        if parameter == "any":
            return unwrap(value)
        if parameter == "value":
            return value
        if value.type is None:
            raise self._error("invalid value; expected string")
        if value.type is ANY and value.data is not None:
            value = value.data
        if value.type is not STRING:
            raise self._error(f"wrong type for value; expected string; got {_type_name(value)}")
        return value


def _size(value: Value) -> int:
    value = unwrap(value)
    return len(value.data or "") if value.kind in (Kind.STRING, Kind.MAP) else 0


def _parameter(function: Function, at: int) -> str:
    return function.parameters[min(at, len(function.parameters) - 1)]


def _type_name(value: Value) -> str:
    return value.type.name if value.type else "<nil>"


def _field_names(receiver: Value) -> list[str]:
    pointed = receiver.type.element if receiver.type else None
    return list(pointed.fields) if pointed else []
