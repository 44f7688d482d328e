"""Mutants: changes of one place of a file's code; strings, type hints and the errors' messages are left as they are."""

import ast
import difflib
import hashlib
import itertools
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

ARITHMETIC = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
COMPARISON = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
OPPOSITES = {"max": "min", "min": "max", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """A file in which the bytes from `start` to `stop` are replaced."""

    path: str
    line: int
    kind: str
    start: int
    stop: int
    replacement: str

    def applied(self, source: bytes) -> bytes:
        """Return the file's source with the change made."""
        return source[: self.start] + self.replacement.encode() + source[self.stop :]

    def identity(self, source: bytes) -> str:
        """Return a name that stays as long as the file does."""
        change = f"{self.path} {self.start} {self.stop} {self.replacement} ".encode()
        return hashlib.sha256(change + source).hexdigest()[:10]

    def diff(self, source: bytes) -> str:
        """Return the lines that change, before and after."""
        before, after = source.decode().splitlines(), self.applied(source).decode().splitlines()
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[3:]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-")


def sample(sources: Mapping[str, bytes], count: int, seed: int) -> list[Mutant]:
    """Draw places without repetition, from each file in proportion to how many it has, and one change of each place."""
    places = {path: list(_Places(path, source)) for path, source in sources.items()}
    total = sum(map(len, places.values()))
    shares = {path: count * len(found) / total for path, found in places.items()}
    numbers = {path: int(share) for path, share in shares.items()}
    by_remainder = sorted(shares, key=lambda path: numbers[path] - shares[path])
    for path in by_remainder[: count - sum(numbers.values())]:
        numbers[path] += 1
    drawn = []
    for path, found in places.items():
        # A stream for each file: the others' mutants stay as they are when one changes.
        draw = random.Random(f"{seed} {path}")
        possible = (
            [one for one in changes if _changes_code(one, sources[path])] for changes in draw.sample(found, len(found))
        )
        drawn += [draw.choice(changes) for changes in itertools.islice(filter(None, possible), numbers[path])]
    return drawn


def _changes_code(mutant: Mutant, source: bytes) -> bool:
    try:
        return ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def count_places(path: str, source: bytes) -> int:
    """Return the number of places of a file that can be changed."""
    return len(list(_Places(path, source)))


class _Places:
    """Iterates over the places of a file, each a list of mutants."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def __iter__(self) -> Iterator[list[Mutant]]:
        for node in self._nodes(ast.parse(self.source)):
            changes = [
                Mutant(self.path, self.source.count(b"\n", 0, start) + 1, kind, start, stop, text)
                for kind, start, stop, text in self._changes(node)
            ]
            if changes:
                yield changes

    def _nodes(self, node: ast.AST) -> Iterator[ast.AST]:
        """Nodes that compute; what is only written for readers and type checkers is passed over, and so are decorators."""
        yield node
        match node:
            case ast.Import() | ast.ImportFrom() | ast.JoinedStr() | ast.Raise():
                below = []
            case ast.FunctionDef():
                below = [*node.args.defaults, *(one for one in node.args.kw_defaults if one is not None), *node.body]
            case ast.ClassDef():
                below = node.body
            case ast.AnnAssign():
                below = [node.value] if node.value else []
            case ast.Assign(targets=[ast.Name(id=name)]) if node.col_offset == 0 and name[0].isupper() and not name.isupper():
                below = []  # a type's other name
            case ast.Call(func=ast.Name(id="cast")):
                below = node.args[1:]
            case _:
                below = list(ast.iter_child_nodes(node))
        for one in below:
            yield from self._nodes(one)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.AST) -> str:
        start, stop = self._span(node)
        return self.source[start:stop].decode()

    def _between(self, left: ast.AST, right: ast.AST, operator: str, other: str) -> str:
        """What stands between two operands, with another operator."""
        text = self.source[self._span(left)[1] : self._span(right)[0]].decode()
        word = re.escape(operator).replace(r"\ ", r"\s+")
        return re.sub(rf"\b{word}\b" if operator[0].isalpha() else word, lambda _: other, text, count=1)

    def _changes(self, node: ast.AST) -> Iterator[tuple[str, int, int, str]]:
        match node:
            case ast.BinOp(op=op, left=left, right=right) if type(op) in ARITHMETIC:
                start, stop = self._span(node)
                before, after = (
                    self.source[start : self._span(left)[1]].decode(),
                    self.source[self._span(right)[0] : stop].decode(),
                )
                yield "arithmetic", start, stop, f"({before}{self._between(left, right, *ARITHMETIC[type(op)])}{after})"
            case ast.AugAssign(op=op, target=target, value=value):
                yield "statement removed", *self._span(node), "pass"
                if type(op) in ARITHMETIC:
                    changed = self._between(target, value, *ARITHMETIC[type(op)])
                    yield "arithmetic", *self._span(node), f"{self._text(target)}{changed}{self._text(value)}"
            case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
                yield "sign or not removed", *self._span(node), f"({self._text(operand)})"
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                operands = [left, *comparators]
                for op, one, two in zip(ops, operands, operands[1:]):
                    operator, others = COMPARISON[type(op)]
                    for other in others:
                        start, stop = self._span(one)[1], self._span(two)[0]
                        yield "comparison", start, stop, self._between(one, two, operator, other)
            case ast.BoolOp(op=op, values=values):
                own, other = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                for joint, parts in ((other, values), (own, values[1:]), (own, values[:-1])):
                    kind = "and, or" if len(parts) == len(values) else "condition dropped"
                    yield kind, *self._span(node), "(" + f" {joint} ".join(f"({self._text(one)})" for one in parts) + ")"
            case ast.Constant(value=bool() as value):
                yield "constant", *self._span(node), str(not value)
            case ast.Constant(value=int() | float() as value):
                for other in (value + 1, value - 1):
                    yield "constant", *self._span(node), f"({other})" if other < 0 else str(other)
            case ast.Slice(lower=lower, upper=upper, step=step):
                for part in filter(None, (lower, upper, step)):
                    yield "slice", *self._span(part), ""
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield "return value", *self._span(value), "None"
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                yield "condition negated", *self._span(test), f"(not ({self._text(test)}))"
            case ast.comprehension(ifs=[test, *_]):
                yield "condition negated", *self._span(test), f"(not ({self._text(test)}))"
            case ast.Call():
                yield from self._changed_call(node)
            case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Delete():
                yield "statement removed", *self._span(node), "pass"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield "statement removed", *self._span(node), "pass"
            case ast.Break():
                yield "loop", *self._span(node), "continue"
            case ast.Continue():
                yield "loop", *self._span(node), "break"

    def _changed_call(self, node: ast.Call) -> Iterator[tuple[str, int, int, str]]:
        match node.func:
            case ast.Name(id=name) if name in OPPOSITES:
                yield "function", *self._span(node.func), OPPOSITES[name]
            case ast.Name(id="sorted" | "reversed" | "abs") if not node.keywords:
                yield "function", *self._span(node.func), ""
        symmetric = isinstance(node.func, ast.Name) and node.func.id in ("max", "min")
        if len(node.args) > 1 and not symmetric and not any(isinstance(one, ast.Starred) for one in node.args[:2]):
            (start, end), (begin, stop) = self._span(node.args[0]), self._span(node.args[1])
            middle = self.source[end:begin].decode()
            yield "arguments swapped", start, stop, f"{self._text(node.args[1])}{middle}{self._text(node.args[0])}"
        for dropped in node.keywords:
            if dropped.arg is not None:
                rest = [self._text(one) for one in (*node.args, *node.keywords) if one is not dropped]
                yield "keyword dropped", *self._span(node), f"{self._text(node.func)}({', '.join(rest)})"
