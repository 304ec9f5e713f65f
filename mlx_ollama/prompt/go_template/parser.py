"""Tokens to a syntax tree, with Go's error texts. Bounded in depth and size."""

from typing import TypeVar

from mlx_ollama.prompt.conversation import TemplateError
from mlx_ollama.prompt.go_strconv import quote, unquote
from mlx_ollama.prompt.go_template.lexer import Kind, Token, tokenize
from mlx_ollama.prompt.go_template.limits import MAX_VARIABLES
from mlx_ollama.prompt.go_template.literals import number_node
from mlx_ollama.prompt.go_template.nodes import (
    ActionNode,
    BoolNode,
    BranchNode,
    BreakNode,
    ChainNode,
    CommandNode,
    ContinueNode,
    DotNode,
    ElseNode,
    EndNode,
    FieldNode,
    IdentifierNode,
    IfNode,
    ListNode,
    NilNode,
    Node,
    NumberNode,
    PipeNode,
    RangeNode,
    StringNode,
    TemplateNode,
    TextNode,
    VariableNode,
    WithNode,
    is_empty,
)

MAX_DEPTH = 100  # of actions and of parentheses, each
MAX_SOURCE = 1 << 20  # characters
_OPERANDS = {
    Kind.BOOL, Kind.CHAR_CONSTANT, Kind.COMPLEX, Kind.DOT, Kind.FIELD, Kind.IDENTIFIER, Kind.NUMBER,
    Kind.NIL, Kind.RAW_STRING, Kind.STRING, Kind.VARIABLE, Kind.LEFT_PAREN,
}  # fmt: skip
_NOT_EXECUTABLE = (BoolNode, DotNode, NilNode, NumberNode, StringNode)

B = TypeVar("B", bound=BranchNode)


def parse(text: str, functions: frozenset[str]) -> dict[str, ListNode]:
    """Every template of the text by name; the text itself is "". Raises TemplateError."""
    if len(text) > MAX_SOURCE:
        raise TemplateError(f"template is longer than {MAX_SOURCE} characters")
    return _Parser(text, functions).run()


class _Parser:
    """`latest` is the token that was read or looked at last: errors name its line."""

    def __init__(self, text: str, functions: frozenset[str]) -> None:
        self._tokens = tokenize(text)
        self._latest = 0
        self._at = 0
        self._functions = functions
        self._variables = ["$"]
        self._trees: dict[str, ListNode] = {}
        self._ranges = self._lists = self._parens = 0

    # ---- tokens

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _peek(self) -> Token:
        index = min(self._at, len(self._tokens) - 1)
        self._latest = max(self._latest, index)
        return self._tokens[index]

    def _next_non_space(self) -> Token:
        token = self._next()
        while token.kind is Kind.SPACE:
            token = self._next()
        return token

    def _peek_non_space(self) -> Token:
        token = self._next_non_space()
        self._at -= 1
        return token

    def _error(self, message: str) -> TemplateError:
        return TemplateError(f"template: :{self._tokens[self._latest].line}: {message}")

    def _unexpected(self, token: Token, context: str) -> TemplateError:
        if token.kind is Kind.ERROR:
            return self._error(token.value)
        return self._error(f"unexpected {token} in {context}")

    def _expect(self, context: str, *kinds: Kind) -> Token:
        token = self._next_non_space()
        if token.kind not in kinds:
            raise self._unexpected(token, context)
        return token

    # ---- templates

    def run(self) -> dict[str, ListNode]:
        root = ListNode(self._peek().position)
        while self._peek().kind is not Kind.EOF:
            if self._definition():
                continue
            node = self._text_or_action()
            if isinstance(node, (EndNode, ElseNode)):
                raise self._error(f"unexpected {node}")
            root.nodes.append(node)
        self._add("", root)
        return self._trees

    def _add(self, name: str, tree: ListNode) -> None:
        existing = self._trees.get(name)
        if existing is None or is_empty(existing):
            self._trees[name] = tree
        elif not is_empty(tree):
            raise self._error(f"template: multiple definition of template {quote(name)}")

    def _definition(self) -> bool:
        if self._peek().kind is not Kind.LEFT_DELIM:
            return False
        start = self._at
        self._next()
        if self._next_non_space().kind is not Kind.DEFINE:
            self._at = start
            return False
        context = "define clause"
        token = self._expect(context, Kind.STRING, Kind.RAW_STRING)
        name = self._unquote(token)
        self._expect(context, Kind.RIGHT_DELIM)
        self._add(name, self._template_body(context))
        return True

    def _template_body(self, context: str) -> ListNode:
        """The body of a define or block: its own variables, and no loop around it."""
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, end = self._item_list()
        if not isinstance(end, EndNode):
            raise self._error(f"unexpected {end} in {context}")
        self._variables, self._ranges = outer, ranges
        return body

    def _item_list(self) -> tuple[ListNode, Node]:
        self._lists += 1
        if self._lists > MAX_DEPTH:
            raise self._error(f"actions are nested deeper than {MAX_DEPTH}")
        items = ListNode(self._peek_non_space().position)
        while self._peek_non_space().kind is not Kind.EOF:
            node = self._text_or_action()
            if isinstance(node, (EndNode, ElseNode)):
                self._lists -= 1
                return items, node
            items.nodes.append(node)
        raise self._error("unexpected EOF")

    def _text_or_action(self) -> Node:
        token = self._next_non_space()
        if token.kind is Kind.TEXT:
            return TextNode(token.position, token.value)
        if token.kind is Kind.LEFT_DELIM:
            return self._action()
        raise self._unexpected(token, "input")

    # ---- actions

    def _action(self) -> Node:
        token = self._next_non_space()
        match token.kind:
            case Kind.IF:
                return self._control(IfNode)
            case Kind.RANGE:
                return self._control(RangeNode)
            case Kind.WITH:
                return self._control(WithNode)
            case Kind.ELSE:
                return self._else()
            case Kind.END:
                return EndNode(self._expect("end", Kind.RIGHT_DELIM).position)
            case Kind.BLOCK | Kind.TEMPLATE:
                return self._template_or_block(token.kind)
            case Kind.BREAK:
                return self._loop_control(BreakNode(token.position))
            case Kind.CONTINUE:
                return self._loop_control(ContinueNode(token.position))
            case _:
                self._at -= 1
                position = self._peek().position
                return ActionNode(position, self._pipeline("command", Kind.RIGHT_DELIM))

    def _loop_control(self, node: Node) -> Node:
        token = self._next_non_space()
        if token.kind is not Kind.RIGHT_DELIM:
            raise self._unexpected(token, str(node))
        if not self._ranges:
            raise self._error(f"{node} outside {{{{range}}}}")
        return node

    def _else(self) -> Node:
        following = self._peek_non_space()
        if following.kind in (Kind.IF, Kind.WITH):
            return ElseNode(following.position)
        return ElseNode(self._expect("else", Kind.RIGHT_DELIM).position)

    def _control(self, kind: type[B]) -> B:
        visible = len(self._variables)
        pipe = self._pipeline(kind.word, Kind.RIGHT_DELIM)
        is_range = kind is RangeNode
        self._ranges += is_range
        body, end = self._item_list()
        self._ranges -= is_range
        otherwise = self._otherwise(kind, end) if isinstance(end, ElseNode) else None
        del self._variables[visible:]
        return kind(pipe.position, pipe, body, otherwise)

    def _otherwise(self, kind: type[BranchNode], end: Node) -> ListNode:
        """The else part; `else if` and `else with` share the end of what they continue."""
        token = self._peek()
        if (kind is IfNode and token.kind is Kind.IF) or (
            kind is WithNode and token.kind is Kind.WITH
        ):
            self._next()
            self._lists += 1
            if self._lists > MAX_DEPTH:
                raise self._error(f"actions are nested deeper than {MAX_DEPTH}")
            otherwise = ListNode(end.position, [self._control(kind)])
            self._lists -= 1
            return otherwise
        otherwise, end = self._item_list()
        if not isinstance(end, EndNode):
            raise self._error(f"expected end; found {end}")
        return otherwise

    def _template_or_block(self, kind: Kind) -> Node:
        context = "block clause" if kind is Kind.BLOCK else "template clause"
        token = self._next_non_space()
        if token.kind not in (Kind.STRING, Kind.RAW_STRING):
            raise self._unexpected(token, context)
        name = self._unquote(token)
        if kind is Kind.BLOCK:
            pipe = self._pipeline(context, Kind.RIGHT_DELIM)
            self._add(name, self._template_body(context))
            return TemplateNode(token.position, name, pipe)
        if self._next_non_space().kind is Kind.RIGHT_DELIM:
            return TemplateNode(token.position, name, None)
        self._at -= 1
        return TemplateNode(token.position, name, self._pipeline(context, Kind.RIGHT_DELIM))

    def _unquote(self, token: Token) -> str:
        text = unquote(token.value)
        if text is None:
            raise self._error("invalid syntax")
        return text

    # ---- pipelines

    def _pipeline(self, context: str, end: Kind) -> PipeNode:
        pipe = PipeNode(self._peek_non_space().position)
        while self._declaration(pipe, context):
            pass
        while True:
            token = self._next_non_space()
            if token.kind is end:
                self._check(pipe, context)
                return pipe
            if token.kind not in _OPERANDS:
                raise self._unexpected(token, context)
            self._at -= 1
            pipe.commands.append(self._command())

    def _declaration(self, pipe: PipeNode, context: str) -> bool:
        """A variable before `:=`, `=` or a comma; True when another may follow."""
        variable = self._peek_non_space()
        if variable.kind is not Kind.VARIABLE:
            return False
        start = self._at
        self._next()
        following = self._peek_non_space()
        is_comma = following.kind is Kind.CHAR and following.value == ","
        if not is_comma and following.kind not in (Kind.ASSIGN, Kind.DECLARE):
            self._at = start
            return False
        self._next_non_space()
        pipe.declared.append(VariableNode(variable.position, [variable.value]))
        self._variables.append(variable.value)
        if len(self._variables) > MAX_VARIABLES:
            raise self._error(f"more than {MAX_VARIABLES} variables")
        if not is_comma:
            pipe.is_assignment = following.kind is Kind.ASSIGN
            return False
        return self._second_variable(pipe, context)

    def _second_variable(self, pipe: PipeNode, context: str) -> bool:
        if context == "range" and len(pipe.declared) < 2:
            allowed = (Kind.VARIABLE, Kind.RIGHT_DELIM, Kind.RIGHT_PAREN)
            if self._peek_non_space().kind not in allowed:
                raise self._error("range can only initialize variables")
            return True
        raise self._error(f"too many declarations in {context}")

    def _check(self, pipe: PipeNode, context: str) -> None:
        if not pipe.commands:
            raise self._error(f"missing value for {context}")
        for stage, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.arguments[0], _NOT_EXECUTABLE):
                raise self._error(f"non executable command in pipeline stage {stage}")

    def _command(self) -> CommandNode:
        command = CommandNode(self._peek_non_space().position)
        while True:
            self._peek_non_space()
            operand = self._operand()
            if operand is not None:
                command.arguments.append(operand)
            token = self._next()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in (Kind.RIGHT_DELIM, Kind.RIGHT_PAREN):
                self._at -= 1
            elif token.kind is not Kind.PIPE:
                raise self._unexpected(token, "operand")
            break
        if not command.arguments:
            raise self._error("empty command")
        return command

    def _operand(self) -> Node | None:
        node = self._term()
        if node is None or self._peek().kind is not Kind.FIELD:
            return node
        position = self._peek().position
        names: list[str] = []
        while self._peek().kind is Kind.FIELD:
            names.append(self._next().value[1:])
        if isinstance(node, FieldNode):
            return FieldNode(position, node.names + names)
        if isinstance(node, VariableNode):
            return VariableNode(position, node.names + names)
        if isinstance(node, _NOT_EXECUTABLE):
            raise self._error(f"unexpected . after term {quote(str(node))}")
        return ChainNode(position, node, names)

    def _term(self) -> Node | None:
        token = self._next_non_space()
        position, value = token.position, token.value
        match token.kind:
            case Kind.IDENTIFIER | Kind.VARIABLE:
                return self._named(token)
            case Kind.DOT:
                return DotNode(position)
            case Kind.NIL:
                return NilNode(position)
            case Kind.FIELD:
                return FieldNode(position, [value[1:]])
            case Kind.BOOL:
                return BoolNode(position, value == "true")
            case Kind.LEFT_PAREN:
                return self._parenthesized()
            case Kind.STRING | Kind.RAW_STRING:
                return StringNode(position, value, self._unquote(token))
            case Kind.NUMBER | Kind.COMPLEX | Kind.CHAR_CONSTANT:
                return self._number(token)
            case _:
                self._at -= 1
                return None

    def _named(self, token: Token) -> Node:
        name = token.value
        if token.kind is Kind.VARIABLE:
            if name not in self._variables:
                raise self._error(f"undefined variable {quote(name)}")
            return VariableNode(token.position, [name])
        if name not in self._functions:
            raise self._error(f"function {quote(name)} not defined")
        return IdentifierNode(token.position, name)

    def _parenthesized(self) -> PipeNode:
        self._parens += 1
        if self._parens > MAX_DEPTH:
            raise self._error(f"parentheses are nested deeper than {MAX_DEPTH}")
        pipe = self._pipeline("parenthesized pipeline", Kind.RIGHT_PAREN)
        self._parens -= 1
        return pipe

    def _number(self, token: Token) -> NumberNode:
        try:
            return number_node(token)
        except ValueError as error:
            raise self._error(str(error)) from None
