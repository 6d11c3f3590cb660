"""Which options a script takes, read from its source; nothing of it is run.

A training script of sd-scripts builds its parser in ``setup_parser``, which calls
``train_network.setup_parser()`` or hands the parser on: ``train_util.add_dataset_arguments(parser,
True, True, True)``. These calls are followed through the modules of the repository. To import them
instead would take ten seconds, and the trainer's Python.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_MAX_BYTES = 4 << 20
_MAX_CALLS = 500
"""Calls that are followed: a made-up trainer could go round in circles."""
_ENTRIES = ("parse_args", "get_args", "main")
"""Functions that build a parser and parse with it, as those of the trainer's tools."""
_GROUPS = ("add_argument_group", "add_mutually_exclusive_group")


class Option(NamedTuple):
    """An option of a script."""

    name: str
    """Without its dashes; the first long one."""
    kind: str
    """``int``, ``float`` or ``str``; empty where its values cannot be judged."""
    values: str
    """How many it takes, as argparse's ``nargs``: ``1``, ``?``, ``*``, ``+``, a number; ``0`` for
    a flag."""
    choices: tuple[str, ...]
    """Empty where any value will do."""
    default: str | None
    required: bool


class ScriptOptions(NamedTuple):
    """The options of a script."""

    options: tuple[Option, ...]
    aliases: tuple[tuple[str, str], ...]
    """(further long name, the option's)."""
    complete: bool
    """Whether there can be no others."""
    files: tuple[str, ...]
    """Absolute paths of the source files that were read."""

    def by_name(self) -> Mapping[str, Option]:
        """Return each option by each of its names."""
        named = {option.name: option for option in self.options}
        return named | {alias: named[name] for alias, name in self.aliases}


class _NotUnderstood(Exception):
    """The source goes beyond what is followed here."""


def read_options(script: Path, repo: Path) -> ScriptOptions | None:
    """Return the options of ``script``, whose modules lie in ``repo``; ``None`` where it builds no
    parser that can be understood."""
    reader = _ParserReader(repo)
    try:
        found = reader.entry(script)
    except (_NotUnderstood, OSError, SyntaxError, ValueError, RecursionError):
        return None
    if not found or not reader.options:
        return None
    return ScriptOptions(
        tuple(reader.options.values()),
        tuple(reader.aliases.items()),
        reader.complete,
        tuple(map(str, reader.modules)),
    )


class _Module(NamedTuple):
    functions: Mapping[str, ast.FunctionDef]
    imports: Mapping[str, tuple[str, str]]
    """Local name, by (module, name in it; empty for the module itself)."""
    main: tuple[ast.stmt, ...]
    """Statements of ``if __name__ == "__main__"``."""


_Scope = dict[str, object]
_PARSER = object()
"""Stands for the parser, and for groups of it."""
_UNKNOWN = object()


class _ParserReader:
    """Follows the parser through functions and modules."""

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        self._calls = 0
        self.modules: dict[Path, _Module] = {}
        self.options: dict[str, Option] = {}
        self.aliases: dict[str, str] = {}
        self.complete = True

    def entry(self, script: Path) -> bool:
        """Read the parser of ``script``; whether there is one."""
        module = self._module(script)
        if "setup_parser" in module.functions:
            return self._call(module, module.functions["setup_parser"], {}) is _PARSER
        named = (
            tuple(module.functions[each].body) for each in _ENTRIES if each in module.functions
        )
        for body in (module.main, *named):
            scope: _Scope = {}
            self._run(module, body, scope)
            if _PARSER in scope.values():
                return True
        return False

    def _module(self, path: Path) -> _Module:
        if path not in self.modules:
            data = path.read_bytes()
            if len(data) > _MAX_BYTES:
                raise _NotUnderstood
            self.modules[path] = _parsed(data)
        return self.modules[path]

    def _call(self, module: _Module, function: ast.FunctionDef, scope: _Scope) -> object:
        self._calls += 1
        if self._calls > _MAX_CALLS:
            raise _NotUnderstood
        return self._run(module, tuple(function.body), scope)

    def _run(self, module: _Module, body: tuple[ast.stmt, ...], scope: _Scope) -> object:
        """Go through statements. Returns what a ``return`` among them does; ``None`` without."""
        for statement in body:
            if isinstance(statement, ast.Return):
                return self._value(module, statement.value, scope)
            if isinstance(statement, ast.Expr):
                self._value(module, statement.value, scope)
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
                value = self._value(module, statement.value, scope)
                scope |= dict.fromkeys(_assigned(statement), value)
            elif isinstance(statement, ast.If):
                for branch in self._branches(module, statement, scope):
                    result = self._run(module, tuple(branch), scope)
                    if result is not None:
                        return result
            elif _mentions_parser(statement, scope):
                self.complete = False
        return None

    def _branches(
        self, module: _Module, statement: ast.If, scope: _Scope
    ) -> Iterator[list[ast.stmt]]:
        test = self._value(module, statement.test, scope)
        if test is _UNKNOWN or test is _PARSER:
            yield from (statement.body, statement.orelse)
        else:
            yield statement.body if test else statement.orelse

    def _value(self, module: _Module, node: ast.expr | None, scope: _Scope) -> object:
        if isinstance(node, ast.Name):
            return scope.get(node.id, _UNKNOWN)
        if isinstance(node, ast.Call):
            return self._called(module, node, scope)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            value = self._value(module, node.operand, scope)
            return _UNKNOWN if value is _UNKNOWN else not value
        return _literal(node)

    def _called(self, module: _Module, node: ast.Call, scope: _Scope) -> object:
        function = node.func
        if isinstance(function, ast.Attribute):
            if function.attr == "ArgumentParser":
                return _PARSER
            if self._value(module, function.value, scope) is _PARSER:
                return self._method(function.attr, node)
        if isinstance(function, ast.Name) and function.id == "ArgumentParser":
            return _PARSER
        given = [self._value(module, each, scope) for each in node.args]
        named = {each.arg: self._value(module, each.value, scope) for each in node.keywords}
        found = self._function(module, function)
        if found is None:
            if _PARSER in given or _PARSER in named.values():
                self.complete = False
            return _UNKNOWN
        where, definition = found
        takes_parser = _PARSER in given or _PARSER in named.values()
        if not takes_parser and definition.name != "setup_parser":
            return _UNKNOWN
        return self._call(where, definition, _bound(definition, given, named))

    def _method(self, name: str, node: ast.Call) -> object:
        """A method of the parser or of a group."""
        if name in _GROUPS:
            return _PARSER
        if name == "add_argument":
            self._add(node)
        elif name == "add_subparsers":
            raise _NotUnderstood
        return _UNKNOWN

    def _add(self, node: ast.Call) -> None:
        words = [_literal(each) for each in node.args]
        names = [word[2:] for word in words if isinstance(word, str) and word.startswith("--")]
        if not names:
            if not all(isinstance(word, str) for word in words):
                self.complete = False
            return  # a short option, or a positional word
        option = _option(names[0], {each.arg: each.value for each in node.keywords})
        self.options[option.name] = option
        self.aliases.update(dict.fromkeys(names[1:], option.name))

    def _function(self, module: _Module, node: ast.expr) -> tuple[_Module, ast.FunctionDef] | None:
        """Return the function of the repository that ``node`` names."""
        if isinstance(node, ast.Name):
            if node.id in module.functions:
                return module, module.functions[node.id]
            source, name = module.imports.get(node.id, ("", ""))
            return self._in_module(source, name) if name else None
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node.value)):
            first, *rest = dotted.split(".")
            source, name = module.imports.get(first, (first, ""))
            return self._in_module(".".join(filter(None, (source, name, *rest))), node.attr)
        return None

    def _in_module(self, dotted: str, name: str) -> tuple[_Module, ast.FunctionDef] | None:
        place = self._repo.joinpath(*dotted.split("."))
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                module = self._module(path)
                if name in module.functions:
                    return module, module.functions[name]
                source, inner = module.imports.get(name, ("", ""))
                return self._in_module(source, inner) if inner else None
        return None


def _assigned(statement: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [each.id for each in targets if isinstance(each, ast.Name)]


def _parsed(data: bytes) -> _Module:
    functions: dict[str, ast.FunctionDef] = {}
    imports: dict[str, tuple[str, str]] = {}
    main: list[ast.stmt] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the trainer's strings: they are not this user's
        body = ast.parse(data).body
    for node in body:
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = node
        elif isinstance(node, ast.Import):
            for each in node.names:
                imports[each.asname or each.name.partition(".")[0]] = (
                    each.name if each.asname else each.name.partition(".")[0],
                    "",
                )
        elif isinstance(node, ast.ImportFrom):
            package = "library" if node.level else ""
            source = ".".join(filter(None, (package, node.module)))
            imports |= {each.asname or each.name: (source, each.name) for each in node.names}
        elif isinstance(node, ast.If) and "__main__" in ast.dump(node.test):
            main += node.body
    return _Module(functions, imports, tuple(main))


def _bound(
    function: ast.FunctionDef, given: list[object], named: Mapping[str | None, object]
) -> _Scope:
    """Return the arguments of a call by the names of the parameters."""
    spec = function.args
    names = [each.arg for each in (*spec.posonlyargs, *spec.args)]
    defaults = [_literal(each) for each in spec.defaults]
    scope: _Scope = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    scope |= {
        each.arg: _literal(value)
        for each, value in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
    }
    scope |= dict(zip(names, given, strict=False))
    return scope | {name: value for name, value in named.items() if name is not None}


def _option(name: str, keywords: Mapping[str | None, ast.expr]) -> Option:
    action = _literal(keywords.get("action"))
    nargs = _literal(keywords.get("nargs"))
    kind = keywords.get("type")
    choices = _literal(keywords.get("choices"))
    default = _literal(keywords.get("default"))
    flag = isinstance(action, str) and action not in ("store", "append", "extend")
    known = {"int": "int", "float": "float", "str": "str"}
    return Option(
        name=name,
        kind="str" if kind is None else known.get(_dotted(kind) or "", ""),
        values="0" if flag else "1" if nargs in (None, _UNKNOWN) else str(nargs),
        choices=tuple(map(str, choices)) if isinstance(choices, (list, tuple)) else (),
        default=None if flag or default in (None, _UNKNOWN) else str(default),
        required=_literal(keywords.get("required")) is True,
    )


def _literal(node: ast.expr | None) -> object:
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNKNOWN


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return None


def _mentions_parser(statement: ast.stmt, scope: _Scope) -> bool:
    """Whether a statement that is not followed, such as a loop, uses the parser."""
    return any(
        isinstance(node, ast.Name) and scope.get(node.id) is _PARSER for node in ast.walk(statement)
    )
