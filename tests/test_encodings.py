"""No file is read or written in whatever encoding the locale happens to have."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("sigjax", "experiments", "docs", "tests")


def unnamed(call: ast.Call) -> bool:
    """Whether a call reads or writes text, and leaves the encoding to the locale."""
    named = {keyword.arg for keyword in call.keywords}
    if "encoding" in named:
        return False
    if {"capture_output", "text"} <= named or "universal_newlines" in named:
        return True  # of a process
    function = call.func
    if isinstance(function, ast.Attribute):
        name, given = function.attr, call.args
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        if (owner, name) in {("os", "open"), ("Image", "open")}:
            return False  # bytes
    elif isinstance(function, ast.Name):
        name, given = function.id, call.args[1:]
    else:
        return False
    # The encoding's position: read_text(encoding), write_text(text, encoding).
    if name in ("read_text", "write_text"):
        return len(given) < {"read_text": 1, "write_text": 2}[name]
    if name in ("open", "fdopen"):
        modes = [
            node.value
            for node in (*call.args, *(k.value for k in call.keywords))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        return not any("b" in mode for mode in modes)
    return False


def test_every_encoding_is_named():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "_build" not in path.parts
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and unnamed(node)
    ]
    assert found == []
