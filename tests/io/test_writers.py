"""Everything that the package writes goes through `edgessd.io.files`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import edgessd

PACKAGE = Path(edgessd.__file__).parent
DOORS = {"io/files.py", "io/folders.py", "io/leftovers.py"}
# Blocks that give a temporary name, which encoders may write to, and a folder that is not in its place yet.
INSIDE = {"atomic_write", "scratch_folder", "new_folder"}
WRITERS = {
    *("write_text", "write_bytes", "savefig", "imwrite", "tofile", "save_file", "save_model", "savez", "savetxt"),
    *("savez_compressed", "to_csv", "copyfile", "copy2", "copytree", "move", "symlink_to", "hardlink_to", "touch"),
    *("rename", "renames", "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory", "mkdtemp", "mkstemp"),
    *("extractall", "extractfile"),
}
OWNED = {"copy": "shutil", "extract": "archive", "VideoWriter": "cv2", "extractfile": "zipfile", "to_csv": "frame"}
# Right where they are, each with its reason.
ALLOWED = {
    "io/streams.py: open": "the null device",
    "io/video": "the encoder writes a `temporary_beside`, and `put_in_place` follows",
    "zoo/download.py: open": "a download that was cut goes on in the same file",
}


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, bool]]:
    """Every call, and whether it stands in a block of `INSIDE`."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[ast.Call, bool]]:
        if isinstance(node, ast.With):
            inside = inside or any(name_of(item.context_expr) in INSIDE for item in node.items)
        if isinstance(node, ast.Call):
            yield node, inside
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    yield from walk(tree, False)


def name_of(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def owner_of(call: ast.Call) -> str:
    return getattr(getattr(call.func, "value", None), "id", "")


def writes(call: ast.Call) -> bool:
    name = name_of(call)
    if name == "open":
        rest = call.args if isinstance(call.func, ast.Attribute) else call.args[1:]  # the first of `open` is the file
        texts = [value for node in [*rest, *(key.value for key in call.keywords)] for value in ast.walk(node)]
        modes = [node.value for node in texts if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        return any(set(mode) & set("wax+") and set(mode) <= set("rwaxbt+") for mode in modes)
    if name == "replace":  # `Path.replace(target)` has one argument, `str.replace` two, `msgspec`'s keywords
        return owner_of(call) == "os" or (len(call.args) == 1 and not call.keywords)
    if name in OWNED:
        return owner_of(call) == OWNED[name]
    return name in WRITERS


def test_nothing_writes_past_the_functions_for_it() -> None:
    past = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name in DOORS:
            continue
        for call, inside in calls(ast.parse(path.read_text())):
            what = f"{name}: {name_of(call)}"
            if writes(call) and not inside and not any(what.startswith(allowed) for allowed in ALLOWED):
                past.append(f"{what} (line {call.lineno})")
    assert past == []


def test_the_rule_sees_what_it_looks_for() -> None:
    bad = """
Path("a").open("w"); open("a", mode="ab"); Path("a").write_text(""); os.replace("a", "b"); part.replace(target)
np.savez("a"); figure.savefig("a"); tempfile.mkdtemp(); shutil.copy("a", "b"); (a if x else b).open("ab" if z else "wb")
"""
    good = """
open("a"); Path("a").open("rb"); "a".replace("b", "c"); table.copy(); msgspec.structs.replace(a, b=1)
with atomic_write(path) as temporary: figure.savefig(temporary)
"""
    assert [writes(call) for call, inside in calls(ast.parse(bad)) if name_of(call) != "Path"] == [True] * 10
    assert not any(writes(call) and not inside for call, inside in calls(ast.parse(good)))
