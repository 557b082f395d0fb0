"""Checks of the package's architecture, over its syntax trees; nothing is imported.

The tables in ``tables.py`` are the architecture.  Rules:

- size: no module above MAX_MODULE lines, no function above MAX_FUNCTION.
- doc: every module has a docstring, and every public function, class and method.
- root: nothing lies directly in the package but its front door.
- rank: a folder imports only folders of lower rank; folders of one rank are blind to each other.
- door: a room imports only the rooms that DOORS says, and its docstring says the same.
- floor: within a room, a module or a folder imports only what stands on a lower floor; those of one floor are
  blind to each other.
- cycle: the graph of modules has none, imports inside functions and for types included.
- lazy: own modules are imported inside functions only where LAZY says.
- gate: a guarded module is imported only where GATES says.
- call: a guarded function is named only where CALLS says.
- packed: one assignment a line; a tuple of values is for a swap, or for taking and clearing.
- name: no module is called after nothing in particular.
- unfinished: no marker of work left over.

By hand: ``python -m tests.architecture.arch_check [PACKAGE_DIR]``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.tables import (
    CALLS,
    DOORS,
    FLOORS,
    FRONT,
    GATES,
    LAZY,
    MAX_FUNCTION,
    MAX_MODULE,
    NAMELESS,
    RANKS,
    REST,
    UNFINISHED,
)


@dataclass(frozen=True)
class Module:
    """One parsed file; ``name`` is dotted and relative to the package."""

    name: str
    path: Path
    text: str
    tree: ast.Module
    is_package: bool

    def problem(self, rule: str, line: int, text: str) -> str:
        """Return one line for people, in the form that editors jump to."""
        return f"{self.path}:{line}: {rule}: {text}"


@dataclass(frozen=True)
class Import:
    """One import statement's target: an own module without the package's name, or a foreign one."""

    target: str
    line: int
    in_function: bool
    for_types_only: bool


def check(root: Path) -> list[str]:
    """Return every problem of the package in ``root``, one line each."""
    modules = {module.name: module for module in _modules(root)}
    problems: list[str] = []
    graph: dict[str, set[str]] = {}
    for module in modules.values():
        problems += [*_sizes(module), *_docs(module), *_names(module), *_calls(module), *_packed(module)]
        problems += [*_root(module), *_door(module)]
        graph[module.name] = set()
        for found in _imports(module, root.name):
            own = _own_module(found.target, root.name, modules)
            if own is None:
                problems += _gate(module, found)
            elif own != module.name:
                problems += _rank(module, found, own) + _floor(module, found, own) + _lazy(module, found, own)
                if module.name not in FRONT:
                    graph[module.name].add(own)
    return problems + [f"{root}: cycle: {' -> '.join(cycle)}" for cycle in _cycles(graph)]


def _modules(root: Path) -> Iterator[Module]:
    for path in sorted(root.rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        is_package = path.name == "__init__.py"
        if is_package and name != "__init__":
            name = name.removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        yield Module(name, path, text, ast.parse(text, str(path)), is_package)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in patterns)


# -- size, doc, name ---------------------------------------------------------------------------


def _sizes(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > MAX_MODULE:
        yield module.problem("size", 1, f"{lines} lines, at most {MAX_MODULE}")
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION:
                yield module.problem(
                    "size", node.lineno, f"{node.name} has {length} lines, at most {MAX_FUNCTION}"
                )


def _docs(module: Module) -> Iterator[str]:
    if not ast.get_docstring(module.tree):
        yield module.problem("doc", 1, "the module has no docstring")
    yield from _docs_below(module, module.tree)


def _docs_below(module: Module, parent: ast.Module | ast.ClassDef) -> Iterator[str]:
    for node in parent.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if node.name.startswith("_") or _inherits_doc(node):
            continue
        if not ast.get_docstring(node):
            yield module.problem("doc", node.lineno, f"{node.name} has no docstring")
        if isinstance(node, ast.ClassDef):
            yield from _docs_below(module, node)


def _inherits_doc(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    return any(
        ast.unparse(decorator) in {"overload", "typing.overload"}
        or ast.unparse(decorator).endswith(".setter")
        for decorator in node.decorator_list
    )


def _names(module: Module) -> Iterator[str]:
    for part in module.name.split("."):
        if part in NAMELESS:
            yield module.problem("name", 1, f'"{part}" says nothing; name the module after what it holds')
    for number, line in enumerate(module.text.splitlines(), 1):
        if found := UNFINISHED.search(line):
            yield module.problem("unfinished", number, f"{found[0]}: finish it, or open an issue")


def _packed(module: Module) -> Iterator[str]:
    """Look for assignments that share a line to save one."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        is_chain = len(node.targets) > 1 and (
            isinstance(value, ast.Constant) or all(isinstance(each, ast.Attribute) for each in node.targets)
        )
        if is_chain or (
            isinstance(target, ast.Tuple)
            and isinstance(value, ast.Tuple)
            and len(target.elts) == len(value.elts)
            and not {ast.unparse(each) for each in target.elts} & _read_in(value)
        ):
            yield module.problem("packed", node.lineno, "give each of these assignments a line of its own")


def _read_in(value: ast.expr) -> set[str]:
    """Return what an expression mentions, prefixes such as ``self.a`` of ``self.a.b`` included."""
    kinds = (ast.Name, ast.Attribute, ast.Subscript)
    return {ast.unparse(node) for node in ast.walk(value) if isinstance(node, kinds)}


# -- imports -----------------------------------------------------------------------------------


def _imports(module: Module, package: str) -> Iterator[Import]:
    yield from _imports_below(module, package, module.tree, in_function=False, for_types_only=False)


def _imports_below(
    module: Module, package: str, parent: ast.AST, *, in_function: bool, for_types_only: bool
) -> Iterator[Import]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function, for_types_only)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, package, node)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", node.lineno, in_function, for_types_only)
        else:
            function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            typing_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            yield from _imports_below(
                module,
                package,
                node,
                in_function=in_function or function,
                for_types_only=for_types_only or typing_only,
            )


def _absolute(module: Module, package: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = [] if module.name == "__init__" else module.name.split(".")
    if not module.is_package:
        parts = parts[:-1]
    parts = parts[: len(parts) - (node.level - 1)]
    return ".".join([package, *parts, *([node.module] if node.module else [])])


def _own_module(target: str, package: str, modules: Mapping[str, Module]) -> str | None:
    """Return the own module that an import leads to, or None for a foreign one."""
    if target != package and not target.startswith(package + "."):
        return None
    name = target[len(package) + 1 :]
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or "__init__"


def _folder(module: str) -> str:
    return module.partition(".")[0]


def _root(module: Module) -> Iterator[str]:
    if module.name not in FRONT and "." not in module.name and not module.is_package:
        yield module.problem("root", 1, f"{module.name} lies outside of all rooms; put it into one")


def _door(module: Module) -> Iterator[str]:
    """Look whether a room's docstring says truly which rooms it may import."""
    if not module.is_package or module.name not in DOORS:
        return
    said = re.search(r"May import: ([^.]*)\.", ast.get_docstring(module.tree) or "")
    if said is None or tuple(re.findall(r"``(\w+)``", said[1])) != tuple(DOORS[module.name]):
        listed = ", ".join(f"``{name}``" for name in DOORS[module.name]) or "nothing of taskd"
        yield module.problem("door", 1, f'the docstring lacks the sentence "May import: {listed}."')


def _rank(module: Module, found: Import, own: str) -> list[str]:
    mine, theirs = _folder(module.name), _folder(own)
    if own == "__init__" or module.name in FRONT or mine == theirs:
        return []
    for folder in (mine, theirs):
        if folder not in RANKS:
            return [
                module.problem("rank", found.line, f'folder "{folder}" has no rank; give it one in RANKS')
            ]
    if RANKS[theirs] < RANKS[mine]:
        if theirs in DOORS.get(mine, RANKS):
            return []
        text = f"{mine} imports {own}; it may import {', '.join(DOORS[mine]) or 'nothing'}"
        return [module.problem("door", found.line, text)]
    text = f"{mine} (rank {RANKS[mine]}) imports {own} (rank {RANKS[theirs]}); imports go down only"
    return [module.problem("rank", found.line, text)]


def _floor(module: Module, found: Import, own: str) -> list[str]:
    """Look at an import within each room that both modules stand in, the inner rooms too."""
    problems = []
    mine, theirs = module.name.split("."), own.split(".")
    for depth in range(1, min(len(mine), len(theirs))):
        room = ".".join(mine[:depth])
        if mine[:depth] != theirs[:depth] or room not in FLOORS or mine[depth] == theirs[depth]:
            continue
        floors = {name: floor for floor, names in enumerate(FLOORS[room]) for name in names}
        if mine[depth] not in floors and theirs[depth] not in floors and REST in floors:
            continue
        for name in (mine[depth], theirs[depth]):
            if floors.setdefault(name, floors.get(REST, -1)) < 0:
                text = f'"{name}" has no floor in {room}; give it one in FLOORS'
                return [module.problem("floor", found.line, text)]
        if floors[theirs[depth]] >= floors[mine[depth]]:
            text = f"{mine[depth]} imports {own}, which is not below it in {room}"
            problems.append(module.problem("floor", found.line, text))
    return problems


def _lazy(module: Module, found: Import, own: str) -> list[str]:
    if not found.in_function or _matches(module.name, LAZY):
        return []
    return [module.problem("lazy", found.line, f"imports {own} inside a function")]


def _gate(module: Module, found: Import) -> list[str]:
    guarded = found.target.partition(".")[0]
    if guarded in GATES and not found.for_types_only and not _matches(module.name, GATES[guarded]):
        return [module.problem("gate", found.line, f"imports {guarded}; {_where(GATES[guarded])}")]
    # ``from time import sleep`` would get round the rule for calls.
    if found.target in CALLS and not _matches(module.name, CALLS[found.target]):
        return [module.problem("call", found.line, f"imports {found.target}; {_where(CALLS[found.target])}")]
    return []


def _where(patterns: Sequence[str]) -> str:
    plain = [pattern.replace("\\", "").replace(".+", "*").replace(".*", "*") for pattern in patterns]
    return f"allowed only in {', '.join(plain)}" if plain else "allowed nowhere"


# -- calls -------------------------------------------------------------------------------------


def _calls(module: Module) -> Iterator[str]:
    """Look at every mention, not at calls alone: ``now = time.time`` is as good as a call."""
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Load):
            named = ast.unparse(node)
            if named in CALLS and not _matches(module.name, CALLS[named]):
                yield module.problem("call", node.lineno, f"uses {named}; {_where(CALLS[named])}")


# -- cycles ------------------------------------------------------------------------------------


def _cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return one path for each back edge that a depth-first search finds."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(node: str, path: list[str]) -> None:
        for target in sorted(graph.get(node, ())):
            if target in path:
                found.append([*path[path.index(target) :], target])
            elif target not in done:
                visit(target, [*path, target])
        done.add(node)

    for node in sorted(graph):
        if node not in done:
            visit(node, [node])
    return found


if __name__ == "__main__":
    package = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "taskd"
    result = check(package)
    sys.stdout.write("\n".join(result or ["architecture: ok"]) + "\n")
    sys.exit(bool(result))
