# SPDX-License-Identifier: Apache-2.0
"""Nested Python objects with tensors in them, as a JSON structure and storages, and back; docs/python-torch.md."""

from __future__ import annotations

import base64
import binascii
import collections
import json
import math
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmh._torch_memory import (
    Entry,
    byte_count,
    dtype_name,
    file_type,
    item_bytes,
    named_dtypes,
    storage_bytes,
    tensor_bytes,
)

FORMAT = "mmh-torch"
VERSION = 1
MAX_DEPTH = 64  # of lists and dicts in each other
MAX_NODES = 20_000_000
MAX_SAME_HASH = 100  # of the keys of a dict or set
MAX_TEXT_BYTES = 256 << 20  # of JSON that is read; as objects it takes some thirty times as much at worst
INLINE_BYTES = 1024  # bytes objects above this are storages of their own
SAFE_INTEGER = 1 << 53  # beyond this, readers of JSON in other languages round

_DTYPES = named_dtypes()
_PLAIN_DTYPES = {name: dtype for name, dtype in _DTYPES.items() if not name.startswith("q")}  # not quantised
_FACTORIES: dict[str, Callable[[], Any]] = {"dict": dict, "list": list, "set": set, "int": int, "float": float}
_ARRAY_KINDS = "biufcSUmM"


class StructureError(ValueError):
    """A structure that no `encode` has written: which part, and what is wrong."""


def where(path: Sequence[Any]) -> str:
    """A place as people write it: optimizer.state[3].foo."""
    text = ""
    for part in path:
        if isinstance(part, str) and part.isidentifier():
            text += f".{part}" if text else part
        elif isinstance(part, str) and text == "" and part.replace(".", "_").isidentifier():
            text = part
        else:
            text += f"[{part!r}]"
    return text or "the object itself"


# ---- out ----


class Encoder:
    """Turns objects into nodes, and collects the tensors and storages that they refer to."""

    def __init__(self, taken: set[str] | None = None, prefix: str = "") -> None:
        """taken: names that storages must not have, which grows; prefix: of the names of storages."""
        self.tensors: list[dict[str, Any]] = []
        self.entries: list[Entry] = []
        self._names: set[str] = {"__metadata__"} if taken is None else taken
        self._prefix = prefix
        self._storages: dict[Any, tuple[int, torch.Tensor]] = {}  # the tensor keeps the address from being used again
        self._tensor_numbers: dict[int, tuple[int, torch.Tensor]] = {}
        self._open: set[int] = set()
        self._nodes = 0

    def structure(self, tree: Any) -> bytes:
        """The JSON text of a node with all that it refers to."""
        return json.dumps(
            {"format": FORMAT, "version": VERSION, "tensors": self.tensors, "tree": tree},
            separators=(",", ":"),
            ensure_ascii=True,  # lone surrogates stay what they are
            allow_nan=False,
        ).encode("ascii")

    def node(self, value: Any, path: tuple[Any, ...] = ()) -> Any:
        """The node of a value. Raises TypeError with its place where there is none."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise TypeError(f"{where(path)}: more than {MAX_NODES} objects")
        if len(path) > MAX_DEPTH:
            raise TypeError(f"{where(path[:8])}...: nested deeper than {MAX_DEPTH}")
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else {"kind": "int", "hex": format(value, "x")}
        if kind is float:
            return value if math.isfinite(value) else {"kind": "float", "bits": _float_bits(value)}
        if kind is list:
            return self._sequence(value, path)
        if kind in _ENCODERS:
            return _ENCODERS[kind](self, value, path)
        if isinstance(value, torch.Tensor):
            return self._tensor(value, path)
        if kind.__module__.split(".")[0] == "numpy":
            return self._numpy(value, path)
        raise TypeError(f"{where(path)}: cannot store a {kind.__module__}.{kind.__qualname__}")

    def _enter(self, value: Any, path: tuple[Any, ...]) -> None:
        if id(value) in self._open:
            raise TypeError(f"{where(path)}: cannot store what contains itself")
        self._open.add(id(value))

    def _sequence(self, value: Any, path: tuple[Any, ...]) -> list[Any]:
        self._enter(value, path)
        try:
            return [self.node(item, (*path, index)) for index, item in enumerate(value)]
        finally:
            self._open.discard(id(value))

    def _pairs(self, value: Any, path: tuple[Any, ...]) -> list[list[Any]]:
        self._enter(value, path)
        try:
            result = []
            for key, item in value.items():
                if isinstance(key, torch.Tensor):
                    raise TypeError(f"{where(path)}: cannot store a tensor as a key")
                result.append([self.node(key, (*path, "key", key)), self.node(item, (*path, key))])
            return result
        finally:
            self._open.discard(id(value))

    def _tensor(self, value: torch.Tensor, path: tuple[Any, ...]) -> dict[str, Any]:
        known = self._tensor_numbers.get(id(value))
        if known is None:
            number = len(self.tensors)
            self.tensors.append(self._describe(value, path))
            self._tensor_numbers[id(value)] = (number, value)
        else:
            number = known[0]
        return {"kind": "tensor", "tensor": number}

    def _describe(self, value: torch.Tensor, path: tuple[Any, ...]) -> dict[str, Any]:
        kind = type(value)
        if kind is not torch.Tensor and kind is not torch.nn.Parameter:
            raise TypeError(
                f"{where(path)}: cannot store a {kind.__module__}.{kind.__qualname__}"
                + (": mmh.dcp stores these" if kind.__name__ == "DTensor" else "")
            )
        if value.layout != torch.strided or value.is_nested:
            raise TypeError(f"{where(path)}: cannot store a tensor of layout {value.layout}: see Tensor.to_dense")
        if value.is_quantized or dtype_name(value.dtype) not in _PLAIN_DTYPES:
            raise TypeError(f"{where(path)}: cannot store a tensor of {value.dtype}: see Tensor.int_repr")
        if value.device.type == "meta":
            raise TypeError(f"{where(path)}: cannot store a tensor of the meta device: it has no values")
        parameter, requires_grad = kind is torch.nn.Parameter, value.requires_grad
        plain = value.detach().resolve_conj().resolve_neg()
        described: dict[str, Any] = {
            "storage": self._storage(plain, path),
            "dtype": dtype_name(plain.dtype),
            "shape": list(plain.shape),
        }
        if not plain.is_contiguous():
            described["strides"] = list(plain.stride())
        if plain.storage_offset():
            described["offset"] = plain.storage_offset()
        if requires_grad:
            described["requires_grad"] = True
        if parameter:
            described["parameter"] = True
        return described

    def _storage(self, tensor: torch.Tensor, path: tuple[Any, ...]) -> str:
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        key = (str(tensor.device), storage.data_ptr(), size) if size else object()
        if key in self._storages:
            return self.entries[self._storages[key][0]].name
        name = self._name(path)
        whole = tensor.is_contiguous() and tensor.storage_offset() == 0 and byte_count(tensor) == size
        if whole:
            dtype, shape = file_type(tensor.dtype, tensor.shape)
        elif size % tensor.element_size() == 0:
            dtype, shape = file_type(tensor.dtype, (size // tensor.element_size(),))
        else:
            dtype, shape = "U8", (size,)

        def read() -> tuple[Any, Any]:
            here = storage_bytes(tensor)
            return tensor_bytes(here), here

        self._storages[key] = (len(self.entries), tensor)
        self.entries.append(Entry(name, dtype, shape, size, read, tensor.device.type == "cpu"))
        return name

    def _plain_storage(self, path: tuple[Any, ...], dtype: str, shape: Sequence[int], data: Any) -> str:
        name = self._name(path)
        self.entries.append(Entry(name, dtype, shape, memoryview(data).nbytes, lambda: (data, data), True))
        return name

    def _name(self, path: tuple[Any, ...]) -> str:
        """A name of a storage that tells where it was met first."""
        name = ".".join(str(part) for part in path).encode("utf-8", "replace").decode() or "tensor"
        name = self._prefix + "".join(letter if letter.isprintable() else "?" for letter in name)[:500]
        unique, count = name, 1
        while unique in self._names:
            count += 1
            unique = f"{name}#{count}"
        self._names.add(unique)
        return unique

    def _numpy(self, value: Any, path: tuple[Any, ...]) -> dict[str, Any]:
        import numpy as np

        if isinstance(value, np.dtype):
            self._check_array_type(value, path)
            return {"kind": "numpy.dtype", "dtype": value.str}
        if type(value) is not np.ndarray and not isinstance(value, np.generic):
            raise TypeError(f"{where(path)}: cannot store a {type(value).__module__}.{type(value).__qualname__}")
        self._check_array_type(value.dtype, path)
        if isinstance(value, np.generic):
            return {"kind": "numpy.scalar", "dtype": value.dtype.str, "hex": value.tobytes().hex()}
        fortran = value.flags.f_contiguous and not value.flags.c_contiguous
        dense = value.T if fortran else np.ascontiguousarray(value).reshape(value.shape)
        kind = dense.dtype.kind + str(dense.dtype.itemsize)
        native = dense.dtype.isnative and kind in _NUMPY_FILE_TYPES
        name = self._plain_storage(
            path,
            _NUMPY_FILE_TYPES[kind] if native else "U8",
            dense.shape if native else (dense.nbytes,),
            dense.reshape(-1).view(np.uint8).data if dense.nbytes else b"",
        )
        node = {"kind": "numpy.array", "storage": name, "dtype": value.dtype.str, "shape": list(value.shape)}
        return {**node, "order": "F"} if fortran else node

    def _check_array_type(self, dtype: Any, path: tuple[Any, ...]) -> None:
        if dtype.kind not in _ARRAY_KINDS or dtype.metadata:
            raise TypeError(f"{where(path)}: cannot store numpy's {dtype!r}")

    def _bytes(self, value: Any, path: tuple[Any, ...]) -> dict[str, Any]:
        kind = type(value).__name__
        if len(value) <= INLINE_BYTES:
            return {"kind": kind, "base64": base64.b64encode(value).decode()}
        return {"kind": kind, "storage": self._plain_storage(path, "U8", (len(value),), value)}

    def _unordered(self, value: Any, path: tuple[Any, ...]) -> list[Any]:
        # In an order of their own, so that equal sets are equal bytes.
        nodes = [self.node(item, (*path, "item", item)) for item in value]
        return sorted(nodes, key=lambda node: json.dumps(node, sort_keys=True))

    def _factory(self, value: Any, path: tuple[Any, ...]) -> str | None:
        factory = value.default_factory
        if factory is None:
            return None
        for name, known in _FACTORIES.items():
            if factory is known:
                return name
        raise TypeError(f"{where(path)}: cannot store a collections.defaultdict of {factory!r}")


_NUMPY_FILE_TYPES = {
    "b1": "BOOL",
    "u1": "U8",
    "i1": "I8",
    "u2": "U16",
    "i2": "I16",
    "u4": "U32",
    "i4": "I32",
    "u8": "U64",
    "i8": "I64",
    "f2": "F16",
    "f4": "F32",
    "f8": "F64",
    "c8": "C64",
}

_ENCODERS: dict[type, Callable[[Encoder, Any, tuple[Any, ...]], Any]] = {
    dict: lambda e, v, p: {"kind": "dict", "items": e._pairs(v, p)},
    collections.OrderedDict: lambda e, v, p: {"kind": "ordered-dict", "items": e._pairs(v, p)},
    collections.Counter: lambda e, v, p: {"kind": "counter", "items": e._pairs(v, p)},
    collections.defaultdict: lambda e, v, p: {
        "kind": "default-dict",
        "factory": e._factory(v, p),
        "items": e._pairs(v, p),
    },
    tuple: lambda e, v, p: {"kind": "tuple", "items": e._sequence(v, p)},
    set: lambda e, v, p: {"kind": "set", "items": e._unordered(v, p)},
    frozenset: lambda e, v, p: {"kind": "frozenset", "items": e._unordered(v, p)},
    bytes: Encoder._bytes,
    bytearray: Encoder._bytes,
    complex: lambda e, v, p: {"kind": "complex", "bits": [_float_bits(v.real), _float_bits(v.imag)]},
    range: lambda e, v, p: {"kind": "range", "items": [e.node(n, p) for n in (v.start, v.stop, v.step)]},
    slice: lambda e, v, p: {"kind": "slice", "items": [e.node(n, p) for n in (v.start, v.stop, v.step)]},
    torch.Size: lambda e, v, p: {"kind": "torch.Size", "items": list(v)},
    torch.dtype: lambda e, v, p: {"kind": "torch.dtype", "name": dtype_name(v)},
    torch.device: lambda e, v, p: {"kind": "torch.device", "name": str(v)},
}


def _float_bits(value: float) -> str:
    return struct.pack(">d", value).hex()


# ---- in ----


def read_text(container: Any, file: str, limit: int | None = None) -> bytes:
    """A file of an open container, which may be a forgery: no more bytes than `limit` (MAX_TEXT_BYTES).

    Raises KeyError where there is none, StructureError.
    """
    limit = MAX_TEXT_BYTES if limit is None else limit
    size = {info.name: info.bytes for info in container.files}[file]
    if size > limit:
        raise StructureError(f"{file}: {size} bytes of JSON are more than {limit}")
    return bytes(container.read(file))


def parse(text: bytes | bytearray, name: str) -> Any:
    """The value of a JSON text that may be hostile: no doubled keys, no numbers that are none, bounded depth.

    Raises StructureError.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise StructureError(f"{name}: a key is there twice")
        return result

    def refuse(constant: str) -> None:
        raise StructureError(f"{name}: {constant} is no number of JSON")

    def integer(digits: str) -> int:
        if len(digits) > 20:
            raise StructureError(f"{name}: an integer of {len(digits)} digits")
        return int(digits)

    try:
        return json.loads(bytes(text), object_pairs_hook=unique, parse_constant=refuse, parse_int=integer)
    except StructureError:
        raise
    except RecursionError:
        raise StructureError(f"{name}: nested too deeply") from None
    except ValueError as error:  # JSON's and Unicode's
        raise StructureError(f"{name}: {error}") from None


class Decoder:
    """Turns nodes back into objects. Storages come from `storage`, tensors are made at most once."""

    def __init__(
        self,
        structure: Any,
        storages: Callable[[Sequence[str]], dict[str, torch.Tensor]],
        device: str | int | torch.device = "cpu",
        name: str = "structure.json",
    ) -> None:
        """structure: what `parse` gave. storages: asked once for dense tensors by name, in main memory; KeyError.

        Raises StructureError.
        """
        self._file, self._to = name, torch.device(device)
        self._moved: dict[str, torch.Tensor] = {}
        top = self._fields(structure, "the structure", {"format": str, "version": int, "tensors": list, "tree": None})
        if top["format"] != FORMAT:
            raise self._wrong("the structure", f'format "{top["format"][:40]}" instead of "{FORMAT}"')
        if top["version"] != VERSION:
            raise self._wrong("the structure", f"version {top['version']}: this mmh reads version {VERSION}")
        self._described = top["tensors"]
        self._tree = top["tree"]
        self._tensors: dict[int, torch.Tensor] = {}
        self._nodes = 0
        names = dict.fromkeys(self._storage_names())
        try:
            self._storages = storages(list(names)) if names else {}
        except KeyError as error:
            raise self._wrong("a storage", f"there is no {error.args[0]!r}") from None

    def object(self) -> Any:
        """The whole object. Raises StructureError."""
        return self._value(self._tree, 0)

    def _wrong(self, what: str, why: str) -> StructureError:
        return StructureError(f"{self._file}: {what}: {why}")

    def _fields(
        self, node: Any, what: str, needed: dict[str, type | None], optional: dict[str, type | None] | None = None
    ) -> dict[str, Any]:
        """A JSON object with these keys and no others, each of its type."""
        if not isinstance(node, dict):
            raise self._wrong(what, f"{type(node).__name__} instead of an object")
        allowed = {**needed, **(optional or {})}
        for key in node:
            if key not in allowed:
                raise self._wrong(what, f"unknown field {key[:40]!r}")
        for key in needed:
            if key not in node:
                raise self._wrong(what, f"no field {key!r}")
        for key, value in node.items():
            kind = allowed[key]
            if kind is not None and type(value) is not kind:
                raise self._wrong(what, f"field {key!r} is a {type(value).__name__}")
        return node

    def _storage_names(self) -> Iterator[str]:
        for number, node in enumerate(self._described):
            yield self._fields(
                node,
                f"tensor {number}",
                {"storage": str, "dtype": str, "shape": list},
                {"strides": list, "offset": int, "requires_grad": bool, "parameter": bool},
            )["storage"]
        pending = [(self._tree, 0)]
        while pending:
            node, depth = pending.pop()
            self._nodes += 1
            if self._nodes > MAX_NODES:
                raise self._wrong("the tree", f"more than {MAX_NODES} objects")
            if depth > 3 * MAX_DEPTH + 3:  # a dict is an object of a list of pairs
                raise self._wrong("the tree", f"nested deeper than {MAX_DEPTH}")
            if isinstance(node, list):
                pending += [(item, depth + 1) for item in node]
            elif isinstance(node, dict):
                if node.get("kind") in ("numpy.array", "bytes", "bytearray") and isinstance(node.get("storage"), str):
                    yield node["storage"]
                pending += [(item, depth + 1) for item in node.values() if isinstance(item, list)]

    def _counts(self, values: list[Any], what: str) -> list[int]:
        if any(type(value) is not int or not 0 <= value < 1 << 63 for value in values):
            raise self._wrong(what, "a size is no count")
        return values

    def _value(self, node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise self._wrong("the tree", f"nested deeper than {MAX_DEPTH}")
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if isinstance(node, list):
            return [self._value(item, depth + 1) for item in node]
        kind = node.get("kind")
        decode = self._KINDS.get(kind) if isinstance(kind, str) else None
        if decode is None:
            raise self._wrong("the tree", f"unknown kind {str(kind)[:40]!r}")
        return decode(self, node, depth)

    def _items(self, node: Any, depth: int) -> list[Any]:
        items = self._fields(node, node["kind"], {"kind": str, "items": list})["items"]
        return [self._value(item, depth + 1) for item in items]

    def _check_hashes(self, keys: Iterable[Any], what: str) -> None:
        """Keys of one hash each wait for all others: numbers and tuples of them can be chosen so."""
        if max(collections.Counter(map(hash, keys)).values(), default=0) > MAX_SAME_HASH:
            raise self._wrong(what, f"more than {MAX_SAME_HASH} keys of the same hash")

    def _pairs(self, node: Any, depth: int, result: Any, factory: bool = False) -> Any:
        self._fields(node, node["kind"], {"kind": str, "items": list}, {"factory": None} if factory else None)
        keys = []
        for pair in node["items"]:
            if not isinstance(pair, list) or len(pair) != 2:
                raise self._wrong(node["kind"], "an item is no pair")
            keys.append(self._key(self._value(pair[0], depth + 1), node["kind"]))
        self._check_hashes(keys, node["kind"])
        for key, pair in zip(keys, node["items"], strict=True):
            if key in result:
                raise self._wrong(node["kind"], "a key is there twice")
            result[key] = self._value(pair[1], depth + 1)
        return result

    def _key(self, key: Any, what: str) -> Any:
        try:
            hash(key)
        except TypeError:
            raise self._wrong(what, f"a {type(key).__name__} as a key") from None
        if isinstance(key, torch.Tensor):
            raise self._wrong(what, "a tensor as a key")
        return key

    def _set(self, node: Any, depth: int) -> set[Any]:
        items = [self._key(item, node["kind"]) for item in self._items(node, depth)]
        self._check_hashes(items, node["kind"])
        return set(items)

    def _default_dict(self, node: Any, depth: int) -> Any:
        name = node.get("factory")
        if name is not None and (not isinstance(name, str) or name not in _FACTORIES):
            raise self._wrong("default-dict", f"unknown factory {str(name)[:40]!r}")
        return self._pairs(node, depth, collections.defaultdict(_FACTORIES[name] if name else None), True)

    def _integer(self, node: Any, depth: int) -> int:
        text = self._fields(node, "int", {"kind": str, "hex": str})["hex"]
        digits = text.removeprefix("-")
        if not digits or not set(digits) <= set("0123456789abcdef"):
            raise self._wrong("int", "no hexadecimal number")
        return int(text, 16)

    def _float(self, bits: Any, what: str) -> float:
        data = self._hex(bits, what)
        if len(data) != 8:
            raise self._wrong(what, "no 64 bits")
        return float(struct.unpack(">d", data)[0])

    def _hex(self, text: Any, what: str) -> bytes:
        try:
            return binascii.unhexlify(text) if isinstance(text, str) else b""
        except ValueError:
            raise self._wrong(what, "no hexadecimal digits") from None

    def _complex(self, node: Any, depth: int) -> complex:
        bits = self._fields(node, "complex", {"kind": str, "bits": list})["bits"]
        if len(bits) != 2:
            raise self._wrong("complex", "not two parts")
        return complex(self._float(bits[0], "complex"), self._float(bits[1], "complex"))

    def _bytes(self, node: Any, depth: int) -> Any:
        kind = node["kind"]
        make = bytes if kind == "bytes" else bytearray
        if "storage" in node:
            name = self._fields(node, kind, {"kind": str, "storage": str})["storage"]
            return make(memoryview(tensor_bytes(self._storages[name])))
        try:
            return make(
                base64.b64decode(self._fields(node, kind, {"kind": str, "base64": str})["base64"], validate=True)
            )
        except ValueError:
            raise self._wrong(kind, "no base64") from None

    def _range(self, node: Any, depth: int) -> Any:
        items = self._items(node, depth)
        if len(items) != 3 or (node["kind"] == "range" and not all(type(item) is int for item in items)):
            raise self._wrong(node["kind"], "not three numbers")
        try:
            return range(*items) if node["kind"] == "range" else slice(*items)
        except ValueError as error:
            raise self._wrong(node["kind"], str(error)) from None

    def _size(self, node: Any, depth: int) -> torch.Size:
        return torch.Size(self._counts(self._items(node, depth), "torch.Size"))

    def _dtype(self, node: Any, depth: int) -> torch.dtype:
        return self._dtype_named(self._fields(node, "torch.dtype", {"kind": str, "name": str})["name"], "torch.dtype")

    def _dtype_named(self, name: str, what: str, known: Mapping[str, torch.dtype] = _DTYPES) -> torch.dtype:
        if name not in known:
            raise self._wrong(what, f"this PyTorch has no element type {name[:40]!r}")
        return known[name]

    def _device(self, node: Any, depth: int) -> torch.device:
        name = self._fields(node, "torch.device", {"kind": str, "name": str})["name"]
        try:
            return torch.device(name)
        except RuntimeError:
            raise self._wrong("torch.device", f"unknown device {name[:40]!r}") from None

    def _tensor(self, node: Any, depth: int) -> torch.Tensor:
        number = self._fields(node, "tensor", {"kind": str, "tensor": int})["tensor"]
        if not 0 <= number < len(self._described):
            raise self._wrong("tensor", f"there is no tensor {number}")
        if number not in self._tensors:
            self._tensors[number] = self._make_tensor(self._described[number], f"tensor {number}")
        return self._tensors[number]

    def _storage(self, name: str) -> torch.Tensor:
        if name not in self._moved:
            self._moved[name] = self._storages[name].to(self._to)
        return self._moved[name]

    def _make_tensor(self, node: Any, what: str) -> torch.Tensor:
        dtype = self._dtype_named(node["dtype"], what, _PLAIN_DTYPES)
        shape = self._counts(node["shape"], what)
        offset = self._counts([node.get("offset", 0)], what)[0]
        dense = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        strides = self._counts(node.get("strides", dense), what)
        if len(strides) != len(shape) or len(shape) > 64:
            raise self._wrong(what, f"{len(strides)} strides for {len(shape)} dimensions")
        storage = self._storage(node["storage"])
        if math.prod(shape) >= 1 << 62:
            raise self._wrong(what, "too many elements")
        if 0 not in shape:
            last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
            if (last + 1) * item_bytes(dtype) > storage.untyped_storage().nbytes():
                raise self._wrong(what, f"lies outside of its storage {node['storage'][:100]!r}")
        elif offset * item_bytes(dtype) > storage.untyped_storage().nbytes():
            raise self._wrong(what, f"lies outside of its storage {node['storage'][:100]!r}")
        tensor = torch.empty(0, dtype=dtype, device=storage.device)
        try:
            tensor.set_(storage.untyped_storage(), offset, shape, strides)
            if node.get("parameter"):
                return torch.nn.Parameter(tensor, requires_grad=node.get("requires_grad", False))
            return tensor.requires_grad_() if node.get("requires_grad") else tensor
        except RuntimeError as error:
            raise self._wrong(what, str(error).split("\n", 1)[0]) from None

    def _array_type(self, text: str, what: str) -> Any:
        import numpy as np

        try:
            dtype = np.dtype(text)
        except (TypeError, ValueError, SyntaxError):
            raise self._wrong(what, f"unknown type {text[:40]!r}") from None
        if dtype.kind not in _ARRAY_KINDS or dtype.str != text:
            raise self._wrong(what, f"unknown type {text[:40]!r}")
        return dtype

    def _numpy_dtype(self, node: Any, depth: int) -> Any:
        return self._array_type(self._fields(node, "numpy.dtype", {"kind": str, "dtype": str})["dtype"], "numpy.dtype")

    def _numpy_scalar(self, node: Any, depth: int) -> Any:
        import numpy as np

        self._fields(node, "numpy.scalar", {"kind": str, "dtype": str, "hex": str})
        dtype, data = self._array_type(node["dtype"], "numpy.scalar"), self._hex(node["hex"], "numpy.scalar")
        if len(data) != dtype.itemsize:
            raise self._wrong("numpy.scalar", f"{len(data)} bytes for {dtype.str}")
        self._check_text(dtype, data, "numpy.scalar")
        return np.frombuffer(data, dtype)[0] if data else dtype.type()

    def _check_text(self, dtype: Any, data: Any, what: str) -> None:
        """NumPy reads text as it is, and makes no str of what is no character."""
        import numpy as np

        if dtype.kind == "U" and np.any(np.frombuffer(data, dtype.str[0] + "u4") > sys.maxunicode):
            raise self._wrong(what, "text of what is no character")

    def _numpy_array(self, node: Any, depth: int) -> Any:
        import numpy as np

        needed: dict[str, type | None] = {"kind": str, "storage": str, "dtype": str, "shape": list}
        self._fields(node, "numpy.array", needed, {"order": str})
        dtype, shape = self._array_type(node["dtype"], "numpy.array"), self._counts(node["shape"], "numpy.array")
        storage = self._storages[node["storage"]]
        if len(shape) > 64 or math.prod(shape) * dtype.itemsize != byte_count(storage):
            raise self._wrong("numpy.array", f"its shape is not that of {byte_count(storage)} bytes")
        data = np.frombuffer(bytearray(tensor_bytes(storage)), np.uint8)
        self._check_text(dtype, data, "numpy.array")
        flat = data.view(dtype) if dtype.itemsize else np.empty(math.prod(shape), dtype)
        try:
            return flat.reshape(shape, order="F" if node.get("order") == "F" else "C")
        except ValueError as error:
            raise self._wrong("numpy.array", str(error)) from None

    _KINDS: dict[str, Callable[[Decoder, Any, int], Any]] = {
        "int": _integer,
        "float": lambda d, n, depth: d._float(d._fields(n, "float", {"kind": str, "bits": str})["bits"], "float"),
        "complex": _complex,
        "bytes": _bytes,
        "bytearray": _bytes,
        "tuple": lambda d, n, depth: tuple(d._items(n, depth)),
        "set": _set,
        "frozenset": lambda d, n, depth: frozenset(d._set(n, depth)),
        "dict": lambda d, n, depth: d._pairs(n, depth, {}),
        "ordered-dict": lambda d, n, depth: d._pairs(n, depth, collections.OrderedDict()),
        "counter": lambda d, n, depth: d._pairs(n, depth, collections.Counter()),
        "default-dict": _default_dict,
        "range": _range,
        "slice": _range,
        "torch.Size": _size,
        "torch.dtype": _dtype,
        "torch.device": _device,
        "tensor": _tensor,
        "numpy.dtype": _numpy_dtype,
        "numpy.scalar": _numpy_scalar,
        "numpy.array": _numpy_array,
    }
