"""What the code knows: frames that it sends, steps that it shows, calls of its routes. Read from the code itself."""

import ast
import re
from pathlib import Path

from app.api import chat_socket
from tests.support.walk import calls

API = Path(chat_socket.__file__).parent


def sent_by(*modules: str) -> set[str]:
    """The values of `"type"` in the dictionaries that these modules of the API make."""
    found: set[str] = set()
    for module in modules:
        for node in ast.walk(ast.parse((API / f"{module}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                values = [
                    value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "type"
                ]
                found |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
    return found


def steps_of_turns() -> set[str]:
    """The names that a turn gives to its steps itself."""
    tree = ast.parse((API / "portal_wire.py").read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    named = [
        call.args[0]
        for call in found
        if (isinstance(call.func, ast.Attribute) and call.func.attr == "_shown")
        or (isinstance(call.func, ast.Name) and call.func.id == "Step")
    ]
    return {str(name.value) for name in named if isinstance(name, ast.Constant)}


def routes() -> set[str]:
    """All of the application's, as the table writes them."""
    return {f"{call.method} {re.sub('{[^}]*}', '{}', call.path).removeprefix('/api/v1')}" for call in calls()}
