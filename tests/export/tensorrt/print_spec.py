"""Prints what the TensorRT bindings that can be imported here have, as JSON: classes, their members, enumerations.

A class is {"members": {name: signature or null}}, null for a property; an enumeration is {"values": {name: number}}.
A signature is {"least": arguments, "most": arguments, "returns": type}; arguments are counted without self.
"""

import inspect
import json
import re
from typing import Any

import tensorrt_bindings

FIRST_LINE = re.compile(r"(?:1\. )?\w+\((.*?)\)(?: -> (.*))?$")


def spec_of(module: Any) -> dict[str, Any]:
    classes = {name: kind for name, kind in vars(module).items() if inspect.isclass(kind) and name != "Dims"}
    return {name: class_spec(kind) for name, kind in classes.items()}


def class_spec(kind: type) -> dict[str, Any]:
    if hasattr(kind, "__members__"):
        return {"values": {name: int(value) for name, value in kind.__members__.items()}}
    names = [name for name in dir(kind) if not name.startswith("_") or name == "__init__"]
    return {"members": {name: signature_of(getattr(kind, name)) for name in names}}


def signature_of(member: Any) -> dict[str, Any] | None:
    """By the first line of pybind11's documentation: `set_shape(self: X, input: str, min: Dims = ...) -> None`."""
    if not inspect.isroutine(member):
        return None
    lines = (member.__doc__ or "").splitlines()
    matches = [match for line in lines if (match := FIRST_LINE.match(line)) and "*args" not in line]
    if not matches:
        return {"least": 0, "most": 99, "returns": "None"}
    arguments = [text for text in split(matches[0][1]) if text and not text.startswith("self")]
    optional = sum(" = " in argument for argument in arguments)
    overloaded = len(matches) > 1
    returns = (matches[0][2] or "None").rpartition(".")[2]
    return {
        "least": 0 if overloaded else len(arguments) - optional,
        "most": 99 if overloaded else len(arguments),
        "returns": returns,
    }


def split(arguments: str) -> list[str]:
    """At the commas outside of brackets."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "[(<") - (character in "])>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


if __name__ == "__main__":
    print(json.dumps({"version": tensorrt_bindings.__version__, "classes": spec_of(tensorrt_bindings)}))
