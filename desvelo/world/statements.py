"""What a line of source says it reads and writes, taken from its syntax tree.

A debugger's line is not a statement: calls span lines, and the end of an ``async with`` is seen
on its first line again. Stories tell statements, so each line is led back to the statement that
it belongs to; that also makes them the same on every Python, whose line events differ.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Iterator
from dataclasses import dataclass, field

PathParts = tuple[str | int, ...]
"""``("state", ".rows", 0)``: a name, then attributes (with a dot) and constant indices."""

_COMPOUND = (
    ast.If,
    ast.While,
    ast.For,
    ast.AsyncFor,
    ast.With,
    ast.AsyncWith,
    ast.Try,
    ast.TryStar,
    ast.Match,
)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SILENT = (
    *_DEFINITIONS,
    ast.Import,
    ast.ImportFrom,
    ast.Global,
    ast.Nonlocal,
    ast.Pass,
    ast.Try,
    ast.TryStar,
    ast.Break,
    ast.Continue,
)


@dataclass(frozen=True, eq=False)
class Path:
    """Something that a statement names: ``rows``, ``self.total``, ``rows[code]``."""

    text: str
    root: str
    hops: tuple[ast.expr, ...]
    """The attributes and subscripts from the root outwards, as nodes of the syntax tree."""
    stored: bool
    loaded: bool
    called: bool
    """Whether one of its methods is called, which may change it."""


@dataclass(frozen=True, eq=False)
class Statement:
    """One simple statement, or the head of a compound one."""

    kind: str
    """``if``, ``while``, ``with``, ``for``, ``return``, ``raise``, ``silent`` or ``plain``."""
    line: int
    text: str
    paths: tuple[Path, ...]
    body: range
    """The lines of its body, when it has one; of an ``if`` those of its first branch."""
    condition: str = ""
    """What an ``if`` or ``while`` tests."""
    inside: tuple[Statement, ...] = field(default=())
    """The ``with`` statements around it."""
    awaits: bool = False
    target: str = ""
    """What a ``with`` or ``await`` asks for, as written."""


class Source:
    """The statements of one file by line."""

    def __init__(self, filename: str) -> None:
        self._lines = linecache.getlines(filename)
        self._by_line: dict[int, Statement] = {}
        try:
            tree = ast.parse("".join(self._lines))
        except (SyntaxError, ValueError):
            return
        self._walk(tree.body, ())

    def at(self, line: int) -> Statement:
        """Return the statement that a line belongs to."""
        found = self._by_line.get(line)
        if found is None:
            text = self._lines[line - 1].strip() if 0 < line <= len(self._lines) else ""
            found = self._by_line[line] = Statement("plain", line, text, (), range(0))
        return found

    def _walk(self, body: list[ast.stmt], inside: tuple[Statement, ...]) -> None:
        for node in body:
            statement = self._statement(node, inside)
            last = _head_end(node)[0] if isinstance(node, _COMPOUND) else node.end_lineno or 0
            if isinstance(node, _DEFINITIONS):
                last = node.body[0].lineno - 1 if node.body[0].lineno > node.lineno else node.lineno
                inner: tuple[Statement, ...] = ()
            else:
                within = isinstance(node, (ast.With, ast.AsyncWith))
                inner = (*inside, statement) if within else inside
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            for line in range(first, last + 1):
                self._by_line.setdefault(line, statement)
            for child in _bodies(node):
                self._walk(child, inner)

    def _statement(self, node: ast.stmt, inside: tuple[Statement, ...]) -> Statement:
        if isinstance(node, _COMPOUND):
            end = _head_end(node)
            suffix = ":"
        else:
            end = (node.end_lineno or node.lineno, node.end_col_offset or 0)
            suffix = ""
        body = range(0)
        children = getattr(node, "body", None)
        if isinstance(node, _COMPOUND) and isinstance(children, list) and children:
            body = range(children[0].lineno, (children[-1].end_lineno or 0) + 1)
            if body.start == node.lineno:
                body = range(0)
        heads = list(_head_expressions(node))
        return Statement(
            kind=_kind(node),
            line=node.lineno,
            text=self._text((node.lineno, node.col_offset), end) + suffix,
            paths=tuple(_paths(heads)),
            body=body,
            condition=self._of(node.test) if isinstance(node, (ast.If, ast.While)) else "",
            inside=inside,
            awaits=isinstance(node, (ast.AsyncWith, ast.AsyncFor))
            or any(isinstance(part, ast.Await) for head in heads for part in _walk_here(head)),
            target=self._target(node),
        )

    def _target(self, node: ast.stmt) -> str:
        if isinstance(node, (ast.With, ast.AsyncWith)):
            return ", ".join(self._of(item.context_expr) for item in node.items)
        for head in _head_expressions(node):
            for part in _walk_here(head):
                if isinstance(part, ast.Await):
                    return self._of(part.value)
        return ""

    def _of(self, node: ast.expr) -> str:
        return self._text(
            (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
        )

    def _text(self, start: tuple[int, int], end: tuple[int, int]) -> str:
        (first, begin), (last, stop) = start, end
        parts = []
        for number in range(first, min(last, len(self._lines)) + 1):
            raw = self._lines[number - 1].encode()
            low = begin if number == first else 0
            high = stop if number == last else len(raw)
            parts.append(" ".join(raw[low:high].decode("utf-8", "replace").split()))
        text = " ".join(part for part in parts if part)
        for opening in "([{":
            text = text.replace(f"{opening} ", opening)
        for closing in ")]}":
            text = text.replace(f", {closing}", closing).replace(f" {closing}", closing)
        return text


@functools.lru_cache(maxsize=256)
def source_of(filename: str) -> Source:
    """Return the statements of a file; a file that cannot be read has none."""
    return Source(filename)


def _kind(node: ast.stmt) -> str:
    if isinstance(node, _SILENT):
        return "silent"
    names = {
        ast.If: "if",
        ast.While: "while",
        ast.For: "for",
        ast.AsyncFor: "for",
        ast.With: "with",
        ast.AsyncWith: "with",
        ast.Return: "return",
        ast.Raise: "raise",
    }
    return names.get(type(node), "plain")


def _bodies(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        children = getattr(node, name, None)
        if isinstance(children, list):
            yield children
    for name in ("handlers", "cases"):
        for part in getattr(node, name, ()):
            yield part.body


def _head_expressions(node: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(node, (ast.If, ast.While)):
        yield node.test
    elif isinstance(node, (ast.For, ast.AsyncFor)):
        yield node.target
        yield node.iter
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        for item in node.items:
            yield item.context_expr
            if item.optional_vars is not None:
                yield item.optional_vars
    elif isinstance(node, ast.Match):
        yield node.subject
    elif not isinstance(node, _SILENT):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield child


def _head_end(node: ast.stmt) -> tuple[int, int]:
    heads = list(_head_expressions(node))
    if not heads:
        return (node.lineno, node.col_offset + len("try"))
    last = max(heads, key=lambda head: (head.end_lineno or 0, head.end_col_offset or 0))
    return (last.end_lineno or node.lineno, last.end_col_offset or 0)


_SCOPES = (ast.Lambda, ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp)


def _walk_here(node: ast.AST) -> Iterator[ast.AST]:
    """Walk an expression, but not into functions, which run later or elsewhere."""
    yield node
    if isinstance(node, ast.Lambda):
        return
    for child in ast.iter_child_nodes(node):
        yield from _walk_here(child)


def _paths(heads: list[ast.expr]) -> Iterator[Path]:
    own: set[str] = set()
    for head in heads:
        for part in _walk_here(head):
            if isinstance(part, ast.comprehension):
                own |= {n.id for n in ast.walk(part.target) if isinstance(n, ast.Name)}
    seen: dict[tuple[str, bool], Path] = {}
    for head in heads:
        for path in _collect(head):
            if path.root not in own:
                seen.setdefault((path.text, path.stored), path)
    return iter(seen.values())


def _collect(node: ast.AST, *, called: bool = False) -> Iterator[Path]:
    if isinstance(node, ast.Lambda):
        return
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            yield from _collect(node.func.value, called=True)
        elif not isinstance(node.func, ast.Name):
            yield from _collect(node.func)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            yield from _collect(argument)
        return
    if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
        found = _path(node, called=called)
        if found is not None:
            yield found
            for hop in found.hops:
                if isinstance(hop, ast.Subscript):
                    yield from _collect(hop.slice)
            return
    for child in ast.iter_child_nodes(node):
        yield from _collect(child)


def _path(node: ast.expr, *, called: bool) -> Path | None:
    hops: list[ast.expr] = []
    inner: ast.expr = node
    while isinstance(inner, (ast.Attribute, ast.Subscript)):
        hops.append(inner)
        inner = inner.value
    if not isinstance(inner, ast.Name):
        return None
    context = getattr(node, "ctx", None)
    return Path(
        text=ast.unparse(node),
        root=inner.id,
        hops=tuple(reversed(hops)),
        stored=isinstance(context, (ast.Store, ast.Del)),
        loaded=isinstance(context, ast.Load),
        called=called,
    )
