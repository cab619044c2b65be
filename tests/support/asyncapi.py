"""Frames held against the AsyncAPI document: what is sent has to be in it, and to look as it says."""

import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from app.api.asyncapi import document

Frame = dict[str, Any]


@cache
def whole() -> dict[str, Any]:
    return document()


@cache
def surface_at(path: str) -> str | None:
    """The channel of a socket's path."""
    for name, channel in whole()["channels"].items():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(channel["address"]))
        if re.fullmatch(pattern, path.partition("?")[0]):
            return name
    return None


@cache
def _validator(message: str) -> Draft202012Validator | None:
    messages = whole()["components"]["messages"]
    if message not in messages:
        return None
    return Draft202012Validator({**messages[message]["payload"], "components": whole()["components"]})


def demand_conforming(path: str, frame: Frame) -> None:
    """Raises `AssertionError` for a frame from the socket at `path` that the document does not know as it is."""
    surface = surface_at(path)
    assert surface is not None, f"no channel for {path}"
    validator = _validator(f"{surface}.sends.{frame.get('type')}")
    assert validator is not None, f"{surface} sends a frame that is not in the document: {frame}"
    error = best_match(validator.iter_errors(frame))
    assert error is None, f"{surface}, {frame['type']}, {error.json_path}: {error.message}"
