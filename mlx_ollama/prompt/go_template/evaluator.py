"""Runs a syntax tree over a value: the statements. Source: the rules of Go's text/template/exec."""

from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.prompt.go_strconv import quote, well_formed
from mlx_ollama.prompt.go_template.expressions import Expressions, Program
from mlx_ollama.prompt.go_template.formatting import sprint
from mlx_ollama.prompt.go_template.functions import printable
from mlx_ollama.prompt.go_template.limits import CALL_STEPS, MAX_TEMPLATE_DEPTH, Limits
from mlx_ollama.prompt.go_template.nodes import (
    ActionNode,
    BranchNode,
    BreakNode,
    ContinueNode,
    ListNode,
    Node,
    RangeNode,
    TemplateNode,
    TextNode,
    WithNode,
)
from mlx_ollama.prompt.go_template.values import (
    INT,
    INVALID,
    STRING,
    Kind,
    Value,
    elements,
    indirect,
    sorted_entries,
    truth,
    unwrap,
)


class _Break(Exception):
    """Leaves a range."""


class _Continue(Exception):
    """Ends one round of a range."""


def run(program: Program, data: Value, limits: Limits | None = None) -> str:
    """The text of the template "" over `data`; raises TemplateError with Go's text."""
    output: list[str] = []
    template = _Template(program, "", data, limits or Limits())
    try:
        template.run(data, output, 0)
    except RecursionError:
        raise TemplateError("template is nested too deeply") from None
    return well_formed("".join(output))


class _Template(Expressions):
    """`depth` counts the templates that this one was called from."""

    def run(self, dot: Value, output: list[str], depth: int) -> None:
        self._output = output
        self._depth = depth
        self._walk(dot, self._program.trees[self._name])

    def _walk(self, dot: Value, node: Node) -> None:
        self._limits.step()
        self._node = node
        match node:
            case TextNode():
                self._write(node.text)
            case ActionNode():
                self._action(dot, node)
            case ListNode():
                self._list(dot, node)
            case RangeNode():
                self._range(dot, node)
            case BranchNode():
                self._if_or_with(dot, node)
            case TemplateNode():
                self._template(dot, node)
            case BreakNode():
                raise _Break
            case ContinueNode():
                raise _Continue
            case _:
                raise self._error(f"unknown node: {node}")

    def _list(self, dot: Value, node: ListNode) -> None:
        for item in node.nodes:
            self._walk(dot, item)

    def _action(self, dot: Value, node: ActionNode) -> None:
        value = self._pipeline(dot, node.pipe)
        if not node.pipe.declared:
            self._node = node
            self._write(value.data if value.type is STRING else sprint([printable(value)]))

    def _write(self, text: str) -> None:
        self._limits.write(len(text))
        self._output.append(text)

    def _if_or_with(self, dot: Value, node: BranchNode) -> None:
        mark = len(self._variables)
        value = self._pipeline(dot, node.pipe)
        if truth(unwrap(value)):
            self._walk(value if isinstance(node, WithNode) else dot, node.body)
        elif node.otherwise is not None:
            self._walk(dot, node.otherwise)
        del self._variables[mark:]

    def _template(self, dot: Value, node: TemplateNode) -> None:
        if node.name not in self._program.trees:
            raise self._error(f"template {quote(node.name)} not defined")
        if self._depth >= MAX_TEMPLATE_DEPTH:
            raise self._error("exceeded maximum template depth (100000)")
        self._limits.step(CALL_STEPS)
        value = INVALID if node.pipe is None else self._pipeline(dot, node.pipe)
        inner = _Template(self._program, node.name, value, self._limits)
        inner.run(value, self._output, self._depth + 1)

    # ---- range

    def _range(self, dot: Value, node: RangeNode) -> None:
        mark = len(self._variables)
        try:
            if not self._rounds(dot, node) and node.otherwise is not None:
                self._walk(dot, node.otherwise)
        except _Break:
            pass
        finally:
            del self._variables[mark:]

    def _rounds(self, dot: Value, node: RangeNode) -> bool:
        """Whether there was anything to range over."""
        value, _ = indirect(self._pipeline(dot, node.pipe))
        ran = False
        match value.kind:
            case Kind.SLICE:
                for at, item in enumerate(elements(value)):
                    ran = True
                    self._round(node, Value(INT, at), item)
            case Kind.MAP:
                self._limits.scan(len(value.data or "") << 8)
                for key, item in sorted_entries(value):
                    ran = True
                    self._round(node, key, item)
            case Kind.INT | Kind.UINT:
                if len(node.pipe.declared) > 1:
                    raise self._error(
                        f"can't use {sprint([value])} to iterate over more than one variable"
                    )
                for at in range(value.data):
                    ran = True
                    self._round(node, INVALID, Value(value.type, at))
            case Kind.INVALID | Kind.INTERFACE:
                pass
            case _:
                raise self._error(f"range can't iterate over {sprint([value])}")
        return ran

    def _round(self, node: RangeNode, key: Value, item: Value) -> None:
        self._limits.step()
        declared = node.pipe.declared
        mark = len(self._variables)
        if node.pipe.is_assignment:
            targets = [item] if len(declared) == 1 else [key, item]
            for variable, value in zip(declared, targets, strict=False):
                self._assign(variable.names[0], value)
        elif declared:
            self._variables[-1][1][0] = item
            if len(declared) > 1:
                self._variables[-2][1][0] = key
        try:
            self._walk(item, node.body)
        except _Continue:
            pass
        finally:
            del self._variables[mark:]
