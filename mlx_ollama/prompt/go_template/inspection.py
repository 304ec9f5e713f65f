"""What a template's tree tells: the names it uses, the tags around thinking, the tag of tool calls, and the cut.

Source: internals 5.2 to 5.8 and appendix A; golden/go README-A traps 2, 15 and 18.
"""

import copy
from collections.abc import Iterator
from typing import TypeVar

from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.prompt.go_template.nodes import (
    ActionNode,
    BranchNode,
    CommandNode,
    FieldNode,
    IfNode,
    ListNode,
    Node,
    PipeNode,
    RangeNode,
    TemplateNode,
    TextNode,
    VariableNode,
)

NodeKind = TypeVar("NodeKind", bound=Node)


def identifiers(node: Node) -> Iterator[str]:
    """Names of fields and variables, but not those behind a parenthesis. Raises TemplateError."""
    if isinstance(node, TemplateNode) and node.pipe is None:
        raise TemplateError("undefined template specified")
    if isinstance(node, (FieldNode, VariableNode)):
        yield from node.names
    for child in _children(node):
        yield from identifiers(child)


# ---- thinking


def thinking_tags(root: ListNode) -> tuple[str, str]:
    """The text around `.Thinking` inside a range over messages; the last such place decides."""
    found = ["", ""]
    _visit_thinking(root, [], found)
    return found[0], found[1]


def _visit_thinking(node: Node, ancestors: list[Node], found: list[str]) -> None:
    ancestors.append(node)
    if isinstance(node, FieldNode) and node.names[0] == "Thinking":
        _take_tags(ancestors, found)
    for child in _children(node):
        _visit_thinking(child, ancestors, found)
    ancestors.pop()


def _take_tags(ancestors: list[Node], found: list[str]) -> None:
    ranges = [node for node in ancestors if isinstance(node, RangeNode)]
    if not ranges or not _uses_messages(ranges[-1].pipe):
        return
    nearest = [node for node in ancestors if isinstance(node, ListNode)][-1]
    for at in (0, -1):
        edge = nearest.nodes[at]
        if isinstance(edge, TextNode):
            found[at] = edge.text.strip()


def _uses_messages(node: Node) -> bool:
    if isinstance(node, FieldNode) and node.names[0] == "Messages":
        return True
    return any(_uses_messages(child) for child in _children(node))


def _children(node: Node) -> list[Node]:
    match node:
        case ListNode():
            return node.nodes
        case BranchNode():
            parts = (node.pipe, node.body, node.otherwise)
            return [part for part in parts if part is not None]
        case ActionNode():
            return [node.pipe]
        case TemplateNode():
            return [] if node.pipe is None else [node.pipe]
        case PipeNode():
            return list(node.commands)
        case CommandNode():
            return node.arguments
        case _:
            return []


# ---- tools


def tool_tag(root: ListNode) -> str:
    """The first text inside the first `if` on tool calls, up to a brace; "{" where there is none."""
    branch = _find_tool_calls(root.nodes)
    text = _first_text(branch.body.nodes)[0] if branch else None
    tag = (text or "").replace("\r\n", "\n").partition("{")[0].strip()
    return tag or "{"


def _find_tool_calls(nodes: list[Node]) -> IfNode | None:
    for node in nodes:
        if isinstance(node, IfNode) and _asks_for_tool_calls(node):
            return node
        if isinstance(node, BranchNode):
            for part in (node.body, node.otherwise):
                found = _find_tool_calls(part.nodes) if part else None
                if found:
                    return found
    return None


def _asks_for_tool_calls(node: IfNode) -> bool:
    return any(
        isinstance(argument, FieldNode) and "ToolCalls" in argument.names
        for command in node.pipe.commands
        for argument in command.arguments
    )


def _first_text(nodes: list[Node]) -> tuple[str | None, bool]:
    """Text that is not blank, before anything is printed; and whether the search is over."""
    for node in nodes:
        if isinstance(node, TextNode) and node.text.strip():
            return node.text, True
        if isinstance(node, ActionNode):
            return None, True
        if isinstance(node, BranchNode):
            for part in (node.body, node.otherwise):
                text = _first_text(part.nodes)[0] if part else None
                if text:
                    return text, True
            return None, True
    return None, False


# ---- the open turn


class _Cutter:
    """Deletes every node after the first `.Response` field, in tree order (README-A, trap 2)."""

    def __init__(self) -> None:
        self._done = False

    def keeps(self, node: Node) -> bool:
        if isinstance(node, FieldNode) and "Response" in node.names:
            self._done = True
            return True
        if self._done:
            return False
        match node:
            case ListNode():
                node.nodes = [item for item in node.nodes if self.keeps(item)]
            case BranchNode():
                self._branch(node)
            case ActionNode():
                return self.keeps(node.pipe)
            case PipeNode():
                return self._pipe(node)
            case _:
                pass
        return True

    def _branch(self, node: BranchNode) -> None:
        self.keeps(node.body)
        if node.otherwise is not None and not self.keeps(node.otherwise):
            raise TemplateError("interface conversion: parse.Node is nil, not *parse.ListNode")

    def _pipe(self, node: PipeNode) -> bool:
        kept: list[CommandNode] = []
        for command in node.commands:
            command.arguments = [item for item in command.arguments if self.keeps(item)]
            if not command.arguments:
                return False
            kept.append(command)
        node.commands = kept
        return bool(kept)


def cut_after_response(root: ListNode) -> ListNode:
    """A copy for the turn that the model is to continue. Raises TemplateError where Go panics."""
    tree = _copied(root)
    _Cutter().keeps(tree)
    return tree


def _copied(node: NodeKind) -> NodeKind:
    """As deep as the cutter changes; `copy.deepcopy` takes more of the stack than the deepest template leaves."""
    made = copy.copy(node)
    match made:
        case ListNode():
            made.nodes = [_copied(item) for item in made.nodes]
        case BranchNode():
            made.body = _copied(made.body)
            made.otherwise = None if made.otherwise is None else _copied(made.otherwise)
        case ActionNode():
            made.pipe = _copied(made.pipe)
        case PipeNode():
            made.commands = [_copied(item) for item in made.commands]
        case CommandNode():
            made.arguments = [_copied(item) for item in made.arguments]
        case _:
            pass
    return made
