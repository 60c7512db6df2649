"""Checks what source files use of TensorRT against its real bindings: names, methods, properties, arguments.

Usage: trt_names.py MODULE FILE...; prints JSON: version, faults by file, what was used.

Types are followed from ``trt.X(...)``, from annotations ``trt.X``, and from the signatures that the bindings
state in their docstrings, through assignments, calls and attributes. Whatever comes from TensorRT and cannot
be followed is a fault as well, so that no name goes unlooked at.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODULES = ("tensorrt", "tensorrt_rtx")
"""What a file imports that is looked at."""

_PLAIN = re.compile(
    r"(typing\.)?(int|float|bool|str|bytes|None|object|list|List|tuple|Tuple|dict|Dict|set|Set|Any)\b"
)
"""Results that are no objects of TensorRT's own."""


@dataclass(frozen=True)
class Found:
    """Something that stands in the bindings: the module, a class, a member."""

    value: Any
    name: str


@dataclass(frozen=True)
class Instance:
    """An object of a class of the bindings."""

    kind: type


@dataclass(frozen=True)
class Method:
    """A method of the bindings, bound."""

    function: Any
    name: str


@dataclass(frozen=True)
class Own:
    """An object of a class of the file."""

    name: str


@dataclass(frozen=True)
class Unknown:
    """Something that TensorRT gives, of which its bindings do not say what it is."""

    what: str


Type = Any
"""One of the above; None for what is not TensorRT's."""

Scope = dict[str, Type]


def module_of(source: str) -> str | None:
    """The module of TensorRT that a file uses: the one it imports, or "tensorrt" where it has a ``trt``."""
    found = None
    for node in ast.walk(ast.parse(source)):
        imported = []
        if isinstance(node, ast.Import):
            imported = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [node.module or ""]
        for name in imported:
            if name.split(".")[0] in MODULES:
                return name.split(".")[0]
        if "trt" in (getattr(node, "id", None), getattr(node, "arg", None)):
            found = "tensorrt"
    return found


@dataclass
class Checker:
    """Looks through one file.

    Args:
        trt: the bindings.
        tree: the file.
    """

    trt: Any
    tree: ast.Module
    faults: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    attributes: dict[str, Scope] = field(default_factory=dict)
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        classes = [value for value in vars(self.trt).values() if isinstance(value, type)]
        own = {node.name for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}
        names = {name for kind in classes for name in dir(kind) if not name.startswith("_")}
        self.telling = {name for name in names - own if "_" in name}
        """Names that nothing but TensorRT has: what they are used on has to be known."""

    def check(self) -> None:
        """Walk twice: what a class keeps in ``self`` is known in all of its methods by the second time."""
        for _ in range(2):
            self.faults.clear()
            self.block(self.tree.body, {"trt": Found(self.trt, "trt")}, None)

    # --- statements ------------------------------------------------------------------------------

    def block(self, statements: list[ast.stmt], scope: Scope, owner: str | None) -> None:
        for statement in statements:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                scope[statement.name] = None
            if isinstance(statement, ast.FunctionDef):
                self.functions[f"{owner}.{statement.name}" if owner else statement.name] = statement
        for statement in statements:
            self.statement(statement, scope, owner)

    def statement(self, node: ast.stmt, scope: Scope, owner: str | None) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self.imported(node, scope)
        elif isinstance(node, ast.FunctionDef):
            self.function(node, scope, owner)
        elif isinstance(node, ast.ClassDef):
            self.class_(node, scope)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                self.assigned(node, target, node.value, scope)
        elif isinstance(node, ast.AnnAssign):
            self.declared(node, scope, owner)
        else:
            self.others(node, scope, owner)

    def assigned(self, node: ast.stmt, target: ast.expr, value: ast.expr, scope: Scope) -> None:
        """A value to its name; of two rows of them each to its own."""
        targets, values = getattr(target, "elts", []), getattr(value, "elts", [])
        if targets and len(targets) == len(values):
            for one, its in zip(targets, values, strict=True):
                self.assigned(node, one, its, scope)
            return
        kind = self.type_of(value, scope)
        if isinstance(kind, Unknown):
            self.fault(node, f"{kind.what} does not say what it gives: annotate it")
        self.assign(target, kind, scope)

    def imported(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        if isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                self.fault(node, f"names are imported from {node.module}: import the module as trt")
            return
        for alias in node.names:
            if alias.name.split(".")[0] in MODULES:
                scope[alias.asname or alias.name] = Found(self.trt, "trt")

    def declared(self, node: ast.AnnAssign, scope: Scope, owner: str | None) -> None:
        if node.value is not None:
            self.type_of(node.value, scope)
        self.assign(node.target, self.annotated(node.annotation, scope), scope)
        if owner and isinstance(node.target, ast.Name):
            self.attributes.setdefault(owner, {})[node.target.id] = scope[node.target.id]

    def others(self, node: ast.stmt, scope: Scope, owner: str | None) -> None:
        """Statements that hold expressions and blocks and give no types."""
        for name, value in ast.iter_fields(node):
            parts = value if isinstance(value, list) else [value]
            for part in parts:
                if isinstance(part, ast.expr):
                    stores = name in ("target", "targets")
                    self.assign(part, None, scope) if stores else self.type_of(part, scope)
                elif isinstance(part, ast.withitem):
                    self.type_of(part.context_expr, scope)
                    if part.optional_vars is not None:
                        self.assign(part.optional_vars, None, scope)
                elif isinstance(part, ast.ExceptHandler):
                    if part.type is not None:
                        self.type_of(part.type, scope)
                    self.block(part.body, scope, owner)
            statements = [part for part in parts if isinstance(part, ast.stmt)]
            if statements:
                self.block(statements, scope, owner)

    def function(self, node: ast.FunctionDef, scope: Scope, owner: str | None) -> None:
        inner = dict(scope)
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for argument in arguments:
            inner[argument.arg] = self.annotated(argument.annotation, scope) if argument.annotation else None
        if "trt" in (argument.arg for argument in arguments):
            inner["trt"] = Found(self.trt, "trt")
        if owner and arguments:
            inner[arguments[0].arg] = Own(owner)
        if node.returns is not None:
            self.annotated(node.returns, scope)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.type_of(default, scope)
        self.block(node.body, inner, None)

    def class_(self, node: ast.ClassDef, scope: Scope) -> None:
        self.attributes.setdefault(node.name, {})
        for base in node.bases:
            kind = self.type_of(base, scope)
            if isinstance(kind, Found) and isinstance(kind.value, type):
                self.overrides(node, kind)
        self.block(node.body, dict(scope), node.name)

    def overrides(self, node: ast.ClassDef, base: Found) -> None:
        """What a class puts in place of TensorRT's own has to be there, and take as many arguments."""
        for method in node.body:
            if not isinstance(method, ast.FunctionDef) or method.name.startswith("_"):
                continue
            theirs = getattr(base.value, method.name, None)
            if theirs is None:
                self.fault(method, f"{base.name} has no {method.name} to be overridden")
                continue
            self.used.add(f"{base.name.removeprefix('trt.')}.{method.name}")
            count = len(method.args.args)
            if signatures(theirs) and count not in (len(names) for names, _ in signatures(theirs)):
                self.fault(method, f"{base.name}.{method.name} takes other arguments")

    def assign(self, target: ast.expr, kind: Type, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = kind
        elif isinstance(target, ast.Attribute):
            holder = self.type_of(target.value, scope)
            if isinstance(holder, Own):
                kept = self.attributes.setdefault(holder.name, {})
                if kind is not None or target.attr not in kept:
                    kept[target.attr] = kind
            elif isinstance(holder, Instance):
                self.settable(target, holder)
            elif holder is not None:
                self.fault(target, f"{target.attr} is set on what is no object of TensorRT's")
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self.assign(part, None, scope)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, None, scope)
        else:
            self.type_of(target, scope)

    def settable(self, target: ast.Attribute, holder: Instance) -> None:
        found = getattr(holder.kind, target.attr, None)
        name = f"{holder.kind.__name__}.{target.attr}"
        if not isinstance(found, property) or found.fset is None:
            self.fault(target, f"{name} is nothing that can be set")
        self.used.add(name)

    # --- expressions -----------------------------------------------------------------------------

    def type_of(self, node: ast.expr, scope: Scope) -> Type:
        if isinstance(node, ast.Name):
            return scope.get(node.id)
        if isinstance(node, ast.Attribute):
            return self.attribute(node, scope)
        if isinstance(node, ast.Call):
            return self.call(node, scope)
        inner = dict(scope)
        if isinstance(node, ast.Lambda):
            inner |= {argument.arg: None for argument in node.args.args}
        kinds = [self.type_of(part, inner) for part in expressions_in(node)]
        if isinstance(node, ast.NamedExpr):
            scope[node.target.id] = kinds[-1]
            return kinds[-1]
        if isinstance(node, ast.IfExp):
            return next((kind for kind in kinds[1:] if kind is not None), None)
        return None

    def attribute(self, node: ast.Attribute, scope: Scope) -> Type:
        holder = self.type_of(node.value, scope)
        if isinstance(holder, Found):
            name = f"{holder.name}.{node.attr}"
            self.used.add(name.removeprefix("trt."))
            if not hasattr(holder.value, node.attr):
                self.fault(node, f"{name} does not exist")
                return None
            value = getattr(holder.value, node.attr)
            if isinstance(holder.value, type) and isinstance(value, holder.value):
                return Instance(holder.value)  # a member of an enumeration
            return Found(value, name) if isinstance(value, type) or callable(value) else None
        if isinstance(holder, Instance):
            return self.member(node, holder.kind)
        if isinstance(holder, Own):
            return self.attributes.get(holder.name, {}).get(node.attr)
        if isinstance(holder, Unknown):
            self.fault(node, f"{holder.what} does not say what it gives: annotate it")
        elif holder is None and node.attr in self.telling:
            self.fault(node, f"what {node.attr} is used on is not known: annotate it")
        return None

    def member(self, node: ast.Attribute, kind: type) -> Type:
        """A method or a property of an object of TensorRT's."""
        name = f"{kind.__name__}.{node.attr}"
        self.used.add(name)
        if not hasattr(kind, node.attr):
            self.fault(node, f"{name} does not exist")
            return None
        value = getattr(kind, node.attr)
        return self.given(value.fget, name) if isinstance(value, property) else Method(value, name)

    def call(self, node: ast.Call, scope: Scope) -> Type:
        called = self.type_of(node.func, scope)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            self.type_of(argument, scope)
        if isinstance(called, Found) and isinstance(called.value, type):
            self.arguments(node, called.value.__init__, called.name)
            return Instance(called.value)
        if isinstance(called, Method):
            self.arguments(node, called.function, called.name)
            return self.given(called.function, called.name)
        if isinstance(called, Found):
            return self.given(called.value, called.name)
        return self.own_result(node.func, scope)

    def own_result(self, function: ast.expr, scope: Scope) -> Type:
        """What a function of the file gives, by its annotation."""
        name = ""
        if isinstance(function, ast.Name):
            name = function.id
        elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            holder = scope.get(function.value.id)
            name = f"{holder.name}.{function.attr}" if isinstance(holder, Own) else ""
        if name in self.attributes:
            return Own(name)
        own = self.functions.get(name)
        return self.annotated(own.returns, scope) if own is not None and own.returns is not None else None

    def annotated(self, node: ast.expr, scope: Scope) -> Type:
        """The type that an annotation names; of "this or None" the first."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node = ast.parse(node.value, mode="eval").body
        if isinstance(node, ast.BinOp):
            return self.annotated(node.left, scope) or self.annotated(node.right, scope)
        if isinstance(node, ast.Name):
            return Own(node.id) if node.id in self.attributes else None
        if isinstance(node, ast.Attribute):
            kind = self.type_of(node, {"trt": Found(self.trt, "trt")})
            return Instance(kind.value) if isinstance(kind, Found) and isinstance(kind.value, type) else None
        for part in expressions_in(node):
            self.annotated(part, scope)
        return None

    def given(self, function: Any, name: str) -> Type:
        """What a function of the bindings gives, by its docstring."""
        for _, result in signatures(function):
            kind = getattr(self.trt, result.rpartition(".")[2], None)
            if isinstance(kind, type):
                return Instance(kind)
            if not _PLAIN.match(result):
                return Unknown(name)
        return None if signatures(function) else Unknown(name)

    def arguments(self, node: ast.Call, function: Any, name: str) -> None:
        """Whether one of the signatures takes a call's arguments."""
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            return
        named = [keyword.arg for keyword in node.keywords]
        for names, _ in signatures(function):
            free = names[1 + len(node.args) :] if len(node.args) < len(names) else {}
            missing = [n for n in free if n not in named and not n.endswith("=")]
            if len(node.args) < len(names) and not missing and {f.rstrip("=") for f in free} >= set(named):
                return
        if signatures(function):
            self.fault(node, f"{name} takes other arguments")

    def fault(self, node: Any, what: str) -> None:
        self.faults.append(f"{node.lineno}: {what}")


def expressions_in(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions right inside another one, those of its generators included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        else:
            yield from expressions_in(child)


def signatures(function: Any) -> list[tuple[list[str], str]]:
    """Argument names, those with a default ending in "=", and result of each signature in a docstring."""
    found = []
    for line in (getattr(function, "__doc__", None) or "").splitlines():
        match = re.match(r"(?:\d+\. )?\w*\((.*)\) -> (.+?)\s*$", line.strip())
        if match and not match[1].startswith("*args"):
            found.append(([_name(part) for part in _split(match[1])], match[2]))
    return found


def _name(argument: str) -> str:
    name, _, rest = argument.partition(":")
    return name.strip() + ("=" if " = " in rest else "")


def _split(arguments: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts, depth, current = [], 0, ""
    for letter in arguments:
        depth += (letter in "([{<") - (letter in ")]}>")
        if letter == "," and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [*parts, current] if current.strip() else parts


def main(module: str, *files: str) -> None:
    trt = importlib.import_module(module)
    faults: dict[str, list[str]] = {}
    used: set[str] = set()
    for file in files:
        checker = Checker(trt, ast.parse(Path(file).read_text("utf-8")))
        checker.check()
        faults[file] = list(dict.fromkeys(checker.faults))
        used |= checker.used
    json.dump({"version": trt.__version__, "faults": faults, "used": sorted(used)}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
