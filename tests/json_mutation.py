# SPDX-License-Identifier: Apache-2.0
"""Values of JSON that are almost what they were: for readers that must take or refuse whatever they are given."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    7,
    2**62,
    2**63,
    1e308,
    "",
    "x",
    "tensor",
    "float32",
    "<f4",
    "0" * 16,
    [],
    {},
    [[]],
    [1, 2],
    [0, 0, 0],
    {"kind": "dict"},
    {"kind": "tensor", "tensor": 0},
    {"kind": "tuple", "items": []},
    {"kind": "float", "bits": "zz"},
    {"kind": "numpy.array"},
]


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _places(value, (*path, key))


def _at(node: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        node = node[key]
    return node


def mutated(value: Any, seed: int) -> Any:
    """A copy with one to three parts replaced by junk or by other parts of it, or taken out."""
    chance, value = random.Random(seed), copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = [path for path in _places(value) if path]
        path = chance.choice(places)
        parent, key = _at(value, path[:-1]), path[-1]
        kind = chance.random()
        if kind < 0.6:
            parent[key] = copy.deepcopy(chance.choice(JUNK))
        elif kind < 0.8:
            del parent[key]
        else:
            parent[key] = copy.deepcopy(_at(value, chance.choice(places)))
        if not value:
            break
    return value
