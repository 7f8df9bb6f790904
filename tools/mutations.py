"""Mutations: every small fault that can be put into a module, each under a name that survives a change elsewhere.

What no test is asked to notice is left alone: docstrings, annotations, decorators, imports and the texts of errors. An
error's reason is no text: it is exchanged for another.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

LABEL_MAX = 150  # a label is one line of a list that people read
_TEXTS = frozenset({"field", "detail", "next_step", "where", "repr"})  # parameters that only a person reads
_TYPING = frozenset({"TypeVar", "cast", "overload"})

_COMPARISONS: dict[type, tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_OPERATORS: dict[type, type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutation:
    """One fault.

    Attributes:
        function: Where it is: qualified name below the module, or the class, or nothing for the module itself.
        label: What it is: the statement, with the changed part as `[old -> new]`.
        line: Line of the changed part.
        node: Its place in the order of `ast.walk`.
        choice: Which of the replacements of that node it is.
        body: First and last line of the function whose run shows the fault; of the definition, where it is one.
        name: What is defined there, where the fault acts when the module is loaded; else nothing.
    """

    function: str
    label: str
    line: int
    node: int
    choice: int
    body: tuple[int, int]
    name: str

    @property
    def id(self) -> str:
        """The name of the fault in its module."""
        return f"{self.function}: {self.label}" if self.function else self.label


def mutations(source: str, reasons: list[str]) -> list[Mutation]:
    """Return every mutation of a module.

    Args:
        source: The module's text.
        reasons: Names of the members of `Reason`, in order: each is exchanged for the next.
    """
    tree = ast.parse(source)
    places = {node: index for index, node in enumerate(ast.walk(tree))}
    found = []
    for site in _Sites(tree).sites():
        for choice, new in enumerate(_replacements(site.node, reasons, raised=site.raised)):
            label = _label(site.statement, site.node, new)
            line = getattr(site.node, "lineno", site.statement.lineno)
            found.append(Mutation(site.function, label, line, places[site.node], choice, site.body, site.name))
    seen: Counter[str] = Counter()
    for index, mutation in enumerate(found):
        seen[mutation.id] += 1
        if seen[mutation.id] > 1:
            found[index] = replace(mutation, label=f"{mutation.label} ({seen[mutation.id]})")
    return found


def mutated(source: str, mutation: Mutation, reasons: list[str]) -> ast.Module:
    """Return the module with one fault in it, its line numbers unchanged."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    old = nodes[mutation.node]
    raised = any(isinstance(node, ast.Raise) and old in list(ast.walk(node)) and node is not old for node in nodes)
    new = list(_replacements(old, reasons, raised=raised))[mutation.choice]
    return ast.fix_missing_locations(_Put(old, new).visit(tree))


@dataclass(frozen=True)
class _Site:
    """A node that may be changed, and where it stands."""

    node: ast.AST
    statement: ast.stmt
    function: str
    body: tuple[int, int]
    name: str
    raised: bool


class _Sites:
    """Walks a module and leaves out what is not to be changed."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        # Positions of parameters that are texts, by function, so that `_bad_proof("index", ...)` is known to be one.
        self._texts = {
            node.name: [argument.arg in _TEXTS for argument in (*node.args.posonlyargs, *node.args.args)]
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
        }

    def sites(self) -> Iterator[_Site]:
        """Give every node, with the statement it belongs to."""
        yield from self._block(self._tree.body, "", None)

    def _block(self, body: list[ast.stmt], inside: str, function: ast.FunctionDef | None) -> Iterator[_Site]:
        for statement in body:
            if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass) or _is_text(statement):
                continue
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
                continue  # names for readers and tools
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._definition(statement, inside, function)
            else:
                yield from self._statement(statement, inside, function)

    def _definition(
        self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, inside: str, function: ast.FunctionDef | None
    ) -> Iterator[_Site]:
        name = f"{inside}.{node.name}".lstrip(".")
        if isinstance(node, ast.ClassDef):
            yield from self._block(node.body, name, function)
            return
        outer = function or node
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                for part in self._parts(default):
                    yield _Site(part, node, name, _lines(outer), "", raised=False)
        yield from self._block(node.body, name, outer)

    def _statement(self, statement: ast.stmt, inside: str, function: ast.FunctionDef | None) -> Iterator[_Site]:
        def site(node: ast.AST, *, raised: bool = False) -> _Site:
            body = _lines(function or statement)
            return _Site(node, statement, inside, body, "" if function else _defined(statement), raised)

        yield site(statement)
        blocks = ("body", "orelse", "finalbody", "handlers", "cases")
        for field, value in ast.iter_fields(statement):
            if field in blocks or field == "annotation" or (field == "cause" and isinstance(statement, ast.Raise)):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    for node in self._parts(child):
                        yield site(node, raised=isinstance(statement, ast.Raise))
        for field in blocks:
            for part in getattr(statement, field, []):
                if isinstance(part, ast.ExceptHandler):
                    if part.type is not None:
                        yield site(part.type)
                    yield from self._block(part.body, inside, function)
                elif isinstance(part, ast.match_case):
                    for child in (part.pattern, part.guard):
                        yield from (site(node) for node in (self._parts(child) if child else ()))
                    yield from self._block(part.body, inside, function)
                else:
                    yield from self._block([part], inside, function)

    def _parts(self, node: ast.AST) -> Iterator[ast.AST]:
        """Give an expression and what is in it, without texts for people and without types."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _TYPING:
            return
        yield node
        skipped: set[ast.AST] = set()
        if isinstance(node, ast.Call):
            skipped |= {keyword for keyword in node.keywords if keyword.arg in _TEXTS}
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            skipped |= {
                argument
                for argument, is_text in zip(node.args, self._texts.get(called, ()), strict=False)
                if is_text and isinstance(argument, ast.Constant | ast.JoinedStr)
            }
        for child in ast.iter_child_nodes(node):
            if child not in skipped and not isinstance(child, ast.expr_context | ast.operator | ast.cmpop | ast.boolop):
                yield from self._parts(child)


def _replacements(node: ast.AST, reasons: list[str], *, raised: bool) -> Iterator[ast.AST]:
    """Give what may stand in the place of a node."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason":
        if node.attr in reasons:
            yield ast.Attribute(node.value, reasons[(reasons.index(node.attr) + 1) % len(reasons)], node.ctx)
        return
    if raised:
        return  # of what is raised, only the reason counts
    if isinstance(node, ast.stmt):
        yield from _other_statements(node)
    elif isinstance(node, ast.Constant):
        yield from (ast.Constant(value) for value in _other_values(node.value))
    else:
        yield from _other_expressions(node)


def _other_statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.AugAssign(op=op) if type(op) in _OPERATORS:
            changed = copy.copy(node)
            changed.op = _OPERATORS[type(op)]()
            yield changed
        case ast.If(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            changed = copy.copy(node)
            changed.test = ast.UnaryOp(ast.Not(), test)
            yield changed


def _other_values(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
        if value > 0:
            yield value - 1
    elif isinstance(value, str):
        yield value + "X"
    elif isinstance(value, bytes):
        yield value + b"X"


def _other_expressions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for index, op in enumerate(ops):
                for other in _COMPARISONS[type(op)]:
                    yield ast.Compare(left, [*ops[:index], other(), *ops[index + 1 :]], comparators)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for index in range(len(values)):
                rest = values[:index] + values[index + 1 :]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            if not any(isinstance(s, ast.Constant) and isinstance(s.value, str | bytes) for s in (left, right)):
                yield ast.BinOp(left, _OPERATORS[type(op)](), right)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield ast.IfExp(test, orelse, body)
        case ast.Slice(lower=lower, upper=upper, step=step):
            if lower is not None:
                yield ast.Slice(None, upper, step)
            if upper is not None:
                yield ast.Slice(lower, None, step)
        case ast.comprehension(ifs=ifs) if ifs:
            for index in range(len(ifs)):
                changed = copy.copy(node)
                changed.ifs = ifs[:index] + ifs[index + 1 :]
                yield changed
        case ast.Tuple(elts=elts, ctx=ast.Load()) if len(elts) > 1 and _are_classes(elts):
            for index in range(len(elts)):
                yield ast.Tuple(elts[:index] + elts[index + 1 :], ast.Load())


def _are_classes(elements: list[ast.expr]) -> bool:
    """Whether a tuple can be one of exceptions or of closed lists of names, from which one may be missing."""
    last = [e.attr if isinstance(e, ast.Attribute) else e.id if isinstance(e, ast.Name) else "" for e in elements]
    return all(name[:1].isupper() for name in last)


class _Put(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old = old
        self._new = ast.copy_location(new, old) if hasattr(old, "lineno") else new

    def visit(self, node: ast.AST) -> ast.AST:
        """Return the node, or what takes its place."""
        return self._new if node is self._old else self.generic_visit(node)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a docstring, or makes the text of an error."""
    if isinstance(statement, ast.Assign):
        return _defined(statement) in _TEXTS
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _lines(node: ast.AST) -> tuple[int, int]:
    return node.lineno, node.end_lineno or node.lineno  # type: ignore[attr-defined]


def _defined(statement: ast.stmt) -> str:
    """Return the name that a statement of a module or class defines."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return next((target.id for target in targets if isinstance(target, ast.Name)), "?")


def _label(statement: ast.stmt, old: ast.AST, new: ast.AST) -> str:
    """Return the statement on one line, with what changes in it."""
    change = f"[{_text(old)} -> {_text(new)}]"
    if old is statement:
        return _short(change, change)
    if isinstance(old, ast.comprehension):
        return _label(statement, statement, copy.deepcopy(statement, {id(old): new}))
    try:
        marked = _text(copy.deepcopy(statement, {id(old): ast.Name("MUTANT", ast.Load())}))
    except ValueError:  # in a formatted text stand constants only
        marked = _text(copy.deepcopy(statement, {id(old): ast.Constant("MUTANT")}))
    return _short(marked.replace("MUTANT", change), change)


def _text(node: ast.AST) -> str:
    """Return the first line of a statement, or the whole of an expression, on one line."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"def {node.name}({ast.unparse(node.args)})"
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        return f"raise {ast.unparse(node.exc.args[0])}" if node.exc.args else "raise"
    if isinstance(node, ast.stmt) and hasattr(node, "body"):
        node = copy.copy(node)
        node.body = [ast.Pass()]
        if hasattr(node, "orelse"):
            node.orelse = []
        if isinstance(node, ast.Try):
            node.handlers = [ast.ExceptHandler(h.type, None, [ast.Pass()]) for h in node.handlers]
    text = ast.unparse(node)
    if isinstance(node, ast.Match):  # of its cases, the one that changes
        text = next((line for line in text.splitlines() if "MUTANT" in line), text)
    text = " ".join(text.split())
    return text.removesuffix(": pass") if isinstance(node, ast.If | ast.While | ast.For) else text


def _short(text: str, change: str) -> str:
    """Return the part of a long text around what changes."""
    if len(text) <= LABEL_MAX:
        return text
    if len(change) > LABEL_MAX:
        shorter = f"{change[: LABEL_MAX // 2]} ... {change[-LABEL_MAX // 2 :]}"
        text, change = text.replace(change, shorter), shorter
    room = max(10, (LABEL_MAX - len(change)) // 2)
    start = text.find(change)
    before, after = text[:start], text[start + len(change) :]
    before = before if len(before) <= room else f"...{before[-room:]}"
    after = after if len(after) <= room else f"{after[:room]}..."
    return before + change + after
