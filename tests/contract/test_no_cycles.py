"""No module imports another that imports it back, imports for type checkers and inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(
    path
    for path in (ROOT / "bindplug", *(ROOT / "plugins").glob("bindplug_*"))
    if (path / "__init__.py").is_file()
)


def modules() -> dict[str, Path]:
    """Name -> file of every module of the distribution."""
    names = {}
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            parts = path.relative_to(package.parent).with_suffix("").parts
            names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported(path: Path, name: str, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the distribution that a file's import statements name, wherever they stand."""
    is_package = path.name == "__init__.py"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                anchor = parts[: len(parts) - node.level + is_package]
                base = ".".join([*anchor, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if inner in known:
                    yield inner
                elif base in known:
                    yield base


def cycles(graph: dict[str, set[str]]) -> list[frozenset[str]]:
    """Strongly connected groups of two or more modules (Tarjan's algorithm, without recursion)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[frozenset[str]] = []
    for start in graph:
        if start in order:
            continue
        work = [(start, iter(sorted(graph[start])))]
        order[start] = low[start] = len(order)
        stack.append(start)
        while work:
            node, successors = work[-1]
            following = next(successors, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == order[node]:
                    index = stack.index(node)
                    groups.append(frozenset(stack[index:]))
                    del stack[index:]
            elif following not in order:
                order[following] = low[following] = len(order)
                stack.append(following)
                work.append((following, iter(sorted(graph[following]))))
            elif following in stack:
                low[node] = min(low[node], order[following])
    return [group for group in groups if len(group) > 1]


def import_graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(path, name, known)) - {name} for name, path in known.items()}


def test_modules_import_each_other_in_one_direction():
    graph = import_graph()
    assert len(graph) > 200
    assert sum(map(len, graph.values())) > 800
    groups = [sorted(group) for group in cycles(graph)]
    assert not groups, f"import cycles: {groups}"


def test_the_graph_sees_every_kind_of_import(tmp_path):
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").write_text("from p.a import x\n")
    (package / "a.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.b import B\n"
    )
    (package / "b.py").write_text("def f():\n    from p import c\n")
    (package / "c.py").write_text("from .a import x\nimport p.d\n")
    (package / "d.py").write_text("")
    known = {"p": package / "__init__.py", **{f"p.{n}": package / f"{n}.py" for n in "abcd"}}
    graph = {name: set(imported(path, name, known)) - {name} for name, path in known.items()}
    assert graph == {"p": {"p.a"}, "p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a", "p.d"}, "p.d": set()}
    assert cycles(graph) == [frozenset({"p.a", "p.b", "p.c"})]
