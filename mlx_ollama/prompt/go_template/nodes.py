"""The syntax tree. `str(node)` is Go's re-printing of it, which error texts show."""

from dataclasses import dataclass, field

from mlx_ollama.prompt.go_strconv import quote


@dataclass(eq=False)
class Node:
    """`position` counts characters of the template's text."""

    position: int


@dataclass(eq=False)
class TextNode(Node):
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(eq=False)
class ListNode(Node):
    nodes: list[Node] = field(default_factory=list)

    def __str__(self) -> str:
        return "".join(map(str, self.nodes))


@dataclass(eq=False)
class DotNode(Node):
    def __str__(self) -> str:
        return "."


@dataclass(eq=False)
class NilNode(Node):
    def __str__(self) -> str:
        return "nil"


@dataclass(eq=False)
class BoolNode(Node):
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(eq=False)
class NumberNode(Node):
    """`value` is what an untyped constant becomes; None: an integer beyond int."""

    text: str
    value: int | float | complex | None

    def __str__(self) -> str:
        return self.text


@dataclass(eq=False)
class StringNode(Node):
    quoted: str
    text: str

    def __str__(self) -> str:
        return self.quoted


@dataclass(eq=False)
class IdentifierNode(Node):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(eq=False)
class FieldNode(Node):
    names: list[str]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(eq=False)
class VariableNode(Node):
    """`names` begins with the variable, `$` included."""

    names: list[str]

    def __str__(self) -> str:
        return ".".join(self.names)


@dataclass(eq=False)
class ChainNode(Node):
    node: Node
    names: list[str]

    def __str__(self) -> str:
        return _in_parens(self.node) + "".join(f".{name}" for name in self.names)


@dataclass(eq=False)
class CommandNode(Node):
    arguments: list[Node] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(map(_in_parens, self.arguments))


@dataclass(eq=False)
class PipeNode(Node):
    commands: list[CommandNode] = field(default_factory=list)
    declared: list[VariableNode] = field(default_factory=list)
    is_assignment: bool = False

    def __str__(self) -> str:
        declared = ", ".join(map(str, self.declared))
        if declared:
            declared += " = " if self.is_assignment else " := "
        return declared + " | ".join(map(str, self.commands))


@dataclass(eq=False)
class ActionNode(Node):
    pipe: PipeNode

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


@dataclass(eq=False)
class BranchNode(Node):
    """`if`, `with` or `range`, by its class."""

    pipe: PipeNode
    body: ListNode
    otherwise: ListNode | None = None
    word = ""

    def __str__(self) -> str:
        otherwise = "" if self.otherwise is None else f"{{{{else}}}}{self.otherwise}"
        return f"{{{{{self.word} {self.pipe}}}}}{self.body}{otherwise}{{{{end}}}}"


class IfNode(BranchNode):
    word = "if"


class WithNode(BranchNode):
    word = "with"


class RangeNode(BranchNode):
    word = "range"


@dataclass(eq=False)
class TemplateNode(Node):
    name: str
    pipe: PipeNode | None

    def __str__(self) -> str:
        pipe = "" if self.pipe is None else f" {self.pipe}"
        return f"{{{{template {quote(self.name)}{pipe}}}}}"


@dataclass(eq=False)
class BreakNode(Node):
    def __str__(self) -> str:
        return "{{break}}"


@dataclass(eq=False)
class ContinueNode(Node):
    def __str__(self) -> str:
        return "{{continue}}"


@dataclass(eq=False)
class EndNode(Node):
    def __str__(self) -> str:
        return "{{end}}"


@dataclass(eq=False)
class ElseNode(Node):
    def __str__(self) -> str:
        return "{{else}}"


def _in_parens(node: Node) -> str:
    return f"({node})" if isinstance(node, PipeNode) else str(node)


def is_empty(node: Node) -> bool:
    """Whether a template holds nothing but blanks: such a definition replaces nothing."""
    if isinstance(node, ListNode):
        return all(map(is_empty, node.nodes))
    return isinstance(node, TextNode) and not node.text.strip()
