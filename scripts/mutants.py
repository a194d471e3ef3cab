"""Mutation testing of the numerics: small faults are put into `ops` and `evaluation`, and their tests must notice.

    .venv-dev/bin/python scripts/mutants.py            # all, in a quarter of an hour; exit code 1 where one survives
    .venv-dev/bin/python scripts/mutants.py ops/nms    # one file
    .venv-dev/bin/python scripts/mutants.py --list ops/nms

Each mutant runs in a process forked from one in which its tests are collected and have run: the changed module takes
the real one's place there, and no file is touched. What survives that is run again with everything imported anew. A
fault that cannot be seen from outside (an equivalent mutant) stands in `EQUIVALENT` with its reason.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import NamedTuple

import cv2
import hypothesis
import pytest
from mutants_equivalent import EQUIVALENT

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "edgessd"
FOLDERS = ("ops", "evaluation")
# Tests of modules that have no file of their name.
OWN = {
    "ops/outputs": ("postprocess",),
    "evaluation/errors": ("error_analysis",),
    "evaluation/confusion": ("error_analysis",),
    "evaluation/sensitivity": ("error_analysis",),
    "evaluation/groups": ("error_analysis",),
    "evaluation/coco": ("coco", "coco_oracle"),
    "evaluation/classes": ("classes", "report"),
}
LEFT_OUT = {"evaluation/plots", "ops/__init__", "evaluation/__init__"}  # drawings, and nothing at all
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", "not sheet and not plots and not drawn",
          "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # fmt: skip
SECONDS = 120
COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
           ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}  # fmt: skip
BINARY = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
          ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd}  # fmt: skip
NAMES = {"round": "int", "rint": "floor", "min": "max", "max": "min", "maximum": "minimum", "minimum": "maximum",
         "any": "all", "all": "any", "ceil": "floor", "floor": "ceil", "argmax": "argmin", "cumsum": "asarray",
         "logical_and": "logical_or", "INTER_LINEAR": "INTER_AREA", "INTER_AREA": "INTER_LINEAR",
         "INTER_CUBIC": "INTER_LINEAR", "INTER_NEAREST": "INTER_LINEAR"}  # fmt: skip
DROPPED = {"clip", "sqrt", "sorted", "abs", "unique", "isfinite"}  # `f(x, ...)` becomes `x`


SKIPPED = (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr)


class Mutant(NamedTuple):
    """One fault. module: such as `ops/nms`. key: module, line of source, what became of what. tree: the whole of it."""

    module: str
    line: int
    key: str
    tree: ast.Module


def places(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of code that computes: no annotations, decorators, docstrings, messages of errors."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, SKIPPED):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":
                continue
            if isinstance(child, ast.Subscript) and getattr(child.value, "id", "") in ("NDArray", "Literal", "tuple"):
                continue
            yield child
            yield from places(child)


def faults(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may become."""
    if isinstance(node, ast.Compare) and len(node.ops) >= 1:
        for index, old in enumerate(node.ops):
            if type(old) in COMPARE:
                yield changed(node, ops=[COMPARE[type(o)]() if i == index else o for i, o in enumerate(node.ops)])
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in BINARY:
        yield changed(node, op=BINARY[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from constants(node)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield changed(node, attr=NAMES[node.attr])
    elif isinstance(node, ast.Name) and node.id in NAMES and isinstance(node.ctx, ast.Load):
        yield changed(node, id=NAMES[node.id])
    elif isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in DROPPED and node.args:
            yield node.args[0]
        for index, keyword in enumerate(node.keywords):
            if keyword.arg is not None and name not in ("dataclass", "zip"):  # `strict` guards what cannot be
                yield changed(node, keywords=node.keywords[:index] + node.keywords[index + 1 :])
    elif isinstance(node, ast.Break | ast.Continue) or is_a_call_alone(node):
        yield ast.copy_location(ast.Pass(), node)


def is_a_call_alone(node: ast.AST) -> bool:
    """Whether it is a statement that only calls something."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def constants(node: ast.Constant) -> Iterator[ast.Constant]:
    """A number a little larger and smaller, the other truth value."""
    if isinstance(node.value, bool):
        yield changed(node, value=not node.value)
    elif isinstance(node.value, int):
        yield changed(node, value=node.value + 1)
        yield changed(node, value=node.value - 1)
    elif isinstance(node.value, float):
        yield changed(node, value=node.value + 0.011)
        yield changed(node, value=node.value - 0.011)


def changed(node: ast.AST, **fields: object) -> ast.AST:
    """A copy of a node with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def mutants(module: str) -> Iterator[Mutant]:
    """All faults of one module."""
    source = (PACKAGE / f"{module}.py").read_text()
    lines = source.splitlines()
    count = sum(1 for node in places(ast.parse(source)) for _ in faults(node))
    seen: Counter[str] = Counter()
    for number in range(count):
        tree = ast.parse(source)
        found = ((node, new) for node in places(tree) for new in faults(node))
        node, new = next(pair for index, pair in enumerate(found) if index == number)
        line = getattr(node, "lineno", 0)
        name = f"{module}: {lines[line - 1].strip()}: {text_of(node)} -> {text_of(new)}"
        seen[name] += 1
        swap(tree, node, new)
        yield Mutant(
            module, line, name if seen[name] == 1 else f"{name} #{seen[name]}", ast.fix_missing_locations(tree)
        )


def the_real(module: str) -> Mutant:
    """A module without any fault."""
    return Mutant(module, 0, "", ast.parse((PACKAGE / f"{module}.py").read_text()))


def text_of(node: ast.AST) -> str:
    """A node as code, on one line."""
    text = " ".join(ast.unparse(ast.fix_missing_locations(node)).split())
    return text if len(text) <= 100 else text[:100] + "..."


def swap(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put `new` in the place of `old`."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list):
                for index, item in enumerate(value):
                    if item is old:
                        value[index] = new
                        return


class Instead(MetaPathFinder, SourceFileLoader):
    """Imports one module from a changed tree."""

    def __init__(self, mutant: Mutant) -> None:
        self.name = f"edgessd.{mutant.module.replace('/', '.')}"
        self.path = str(PACKAGE / f"{mutant.module}.py")
        self.tree = mutant.tree

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Answer for the one module."""
        return spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None

    def get_code(self, fullname: str) -> object:
        """Compile the changed tree."""
        return compile(self.tree, self.path, "exec")


def waited(child: int) -> int:
    """The exit code of a forked process, below 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def put(mutant: Mutant) -> None:
    """Let everything that is imported already use the changed module."""
    finder = Instead(mutant)
    sys.meta_path.insert(0, finder)
    module = sys.modules.get(finder.name)
    if module is None:
        return
    before = dict(vars(module))
    exec(compile(mutant.tree, finder.path, "exec"), vars(module))
    after = vars(module)
    for other in list(sys.modules.values()):
        if str(getattr(other, "__file__", None)).startswith(str(ROOT)):
            for name, value in list(vars(other).items()):
                if name in before and value is before[name] and value is not after[name]:
                    setattr(other, name, after[name])


class Loop:
    """A pytest plugin that runs the collected tests once for each mutant, every time in a fork of this process."""

    def __init__(self, module: str, results: int) -> None:
        self.module, self.results = module, results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Write the number of each mutant that survives, and `ok` at the end where the module bears replacement."""
        hypothesis.settings.load_profile("mutants")  # tests/conftest.py has loaded its own
        items = list(session.items)
        if self.first_failure(session, items):  # here, not in a fork: what tests import and make once is there then
            return True
        began = time.monotonic()
        if self.noticed(session, items, the_real(self.module), SECONDS):  # such as for another class of the same name
            return True
        limit = 10 + 10 * int(time.monotonic() - began)
        for number, mutant in enumerate(mutants(self.module)):
            if mutant.key in EQUIVALENT:
                continue
            failed = self.noticed(session, items, mutant, limit)
            if failed == 0:
                os.write(self.results, f"{number}\n".encode())
            elif 0 < failed < 255:  # it may well notice the next one, too
                items.insert(0, items.pop(failed - 1))
        os.write(self.results, b"ok\n")
        return True

    def noticed(self, session: pytest.Session, items: list[pytest.Item], mutant: Mutant, limit: int) -> int:
        """The place of the first test that fails, from 1; 0 where none does; below 0 where it hangs or crashes."""
        child = os.fork()
        if child == 0:
            code = 255
            try:
                signal.alarm(limit)
                put(mutant)
                code = min(self.first_failure(session, items), 255)
            finally:
                os._exit(code)
        return waited(child)

    def first_failure(self, session: pytest.Session, items: list[pytest.Item]) -> int:
        """The place of the first test that fails, from 1, or 0."""
        for index, item in enumerate(items):
            following = items[index + 1] if index + 1 < len(items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                return index + 1
        return 0


def silently(run: Callable[[], int]) -> int:
    """Fork a process that runs something without a terminal, and return its process id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nowhere, descriptor)
            sys.modules["beartype"] = None  # type: ignore[assignment]  # its hook would import the real module
            code = run()
        finally:
            os._exit(code)
    return child


def quick_survivors(module: str, tests: list[str]) -> list[int]:
    """The numbers of the mutants that survive in place of the imported module; all where it bears no replacement."""
    reading, writing = os.pipe()
    child = silently(lambda: int(pytest.main([*PYTEST, *tests], plugins=[Loop(module, writing)])))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().split()
    waited(child)
    if lines[-1:] == ["ok"]:
        return [int(line) for line in lines[:-1]]
    return [number for number, mutant in enumerate(mutants(module)) if mutant.key not in EQUIVALENT]


def survives(mutant: Mutant, tests: list[str]) -> bool:
    """Whether all tests pass where everything is imported anew, with the mutant. One that hangs is caught."""

    def run() -> int:
        signal.alarm(SECONDS)
        sys.meta_path.insert(0, Instead(mutant))
        return int(pytest.main([*PYTEST, *tests]))

    return waited(silently(run)) == 0


def tests_of(module: str) -> list[str]:
    """Its own tests: the file of its name, or those that `OWN` names."""
    folder, _, name = module.partition("/")
    return [f"tests/{folder}/test_{each}.py" for each in OWN.get(module, (name,))]


def warm() -> None:
    """Import what is heavy once, before the forks."""
    for name in ("faster_coco_eval", "pycocotools.cocoeval", "matplotlib.figure", "PIL.Image", "onnxruntime"):
        try:
            __import__(name)
        except ImportError:
            print(f"without {name}: some faults cannot be noticed")
    cv2.setNumThreads(0)  # threads do not outlive a fork
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)  # a fault need not be made small
    hypothesis.settings.register_profile("mutants", phases=phases, max_examples=50, database=None, deadline=None)


def survivors_of(module: str) -> list[Mutant] | None:
    """Run all mutants of a module, print those that survive and how many there were; None: its tests fail as it is."""
    tests, began = tests_of(module), time.monotonic()
    found = list(mutants(module))
    if not survives(the_real(module), tests):
        print(f"{module}: its tests fail without any fault")
        return None
    candidates = quick_survivors(module, tests)
    alive = []
    for number in candidates:
        if survives(found[number], tests):
            alive.append(found[number])
            print(f"SURVIVED {found[number].key}", flush=True)
    equivalent = sum(mutant.key in EQUIVALENT for mutant in found)
    counts = f"{len(found)} mutants, {equivalent} equivalent, {len(alive)} survived"
    print(f"{module}: {counts}, {time.monotonic() - began:.0f} s", flush=True)
    return alive


def main() -> int:
    """Run what is named, and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="such as ops/nms or evaluation; default: all")
    parser.add_argument("--list", action="store_true", help="print the mutants and run none")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    known = [f"{folder}/{path.stem}" for folder in FOLDERS for path in sorted((PACKAGE / folder).glob("*.py"))]
    wanted = [
        m
        for m in known
        if m not in LEFT_OUT and (not arguments.modules or any(m.startswith(w) for w in arguments.modules))
    ]
    if arguments.list:
        for module in wanted:
            for mutant in mutants(module):
                print(f"{mutant.line}: {mutant.key}")
        return 0
    warm()
    results = [survivors_of(module) for module in wanted]
    unknown = {key for key in EQUIVALENT if key.partition(":")[0] in wanted}
    unknown -= {mutant.key for module in wanted for mutant in mutants(module)}
    for key in sorted(unknown):
        print(f"listed as equivalent, but there is no such mutant: {key}")
    print(f"{sum(len(alive or ()) for alive in results)} survived")
    return 1 if unknown or any(alive is None or alive for alive in results) else 0


if __name__ == "__main__":
    sys.exit(main())
