# SPDX-License-Identifier: Apache-2.0
"""ONNX models straight from a container, for the package onnx and for ONNX Runtime."""

from __future__ import annotations

import itertools
import math
import os
import posixpath
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

import mmh
from mmh import _arrays, _models
from mmh._arrays import Array
from mmh._container import Container, FileInfo

__all__ = ["load", "session"]

INLINE_BYTES = 1024
"""Tensors below this stay in the model that ONNX Runtime is given: shapes and axes are looked at early."""


# ---- the package onnx ----


def load(path: Any, *, model: str | None = None, load_external_data: bool = True, **open_options: Any) -> Any:
    """onnx.load of a model inside a container.

    Returns an onnx.ModelProto with the weights in it, also those of external data files, as onnx.load does.
    A message of protobuf keeps its own copy of every tensor, so each is held twice while it is handed over,
    one after the other.

      path    a packed .onnx file or folder; whatever mmh.open takes (with open_options), or the original
      model   which one, if the container has several: a name in it

    Raises UsageError if there is none, or if it tells of data outside of the container; CorruptError.
    """
    import onnx

    with _models.opened(path, **open_options) as container:
        file = _models.file_named(container, ".onnx", model=model, what="ONNX model")
        proto = onnx.ModelProto()
        proto.ParseFromString(container.read(file.index))
        if load_external_data:
            for tensor in _tensors(proto):
                if tensor.data_location == onnx.TensorProto.EXTERNAL:
                    place = {entry.key: entry.value for entry in tensor.external_data}
                    where, offset, size = _external(container, file, tensor.name, place)
                    needed = _value_bytes(tensor.data_type, tensor.dims)
                    if needed is not None and (size != needed if place.get("length") else size < needed):
                        raise mmh.UsageError(
                            f'"{tensor.name}" has {size} bytes of external data, and its type and shape take {needed}'
                        )
                    tensor.raw_data = container.read(where.index, offset, size if needed is None else needed)
                    tensor.data_location = onnx.TensorProto.DEFAULT
                    del tensor.external_data[:]
    return proto


def _value_bytes(data_type: int, shape: Collection[int]) -> int | None:
    """Bytes that the values of a tensor take; None for types that are not known here, and of no shape."""
    bits = _BITS.get(data_type)
    return None if bits is None or min(shape, default=0) < 0 else (math.prod(shape) * bits + 7) // 8


def _tensors(proto: Any) -> Iterator[Any]:
    """Every tensor of a model: initializers, attributes of nodes, those of graphs and functions inside."""

    def of_nodes(nodes: Any) -> Iterator[Any]:
        for node in nodes:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
                    yield from (sparse.values, sparse.indices)
                if attribute.HasField("g"):
                    yield from of_graph(attribute.g)
                for graph in attribute.graphs:
                    yield from of_graph(graph)

    def of_graph(graph: Any) -> Iterator[Any]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from of_nodes(graph.node)

    yield from of_graph(proto.graph)
    for function in proto.functions:
        yield from of_nodes(function.node)


def _external(container: Container, file: FileInfo, name: str, place: dict[str, str]) -> tuple[FileInfo, int, int]:
    """Where a tensor's external data is: file of the container, offset, bytes."""
    location = place.get("location", "").replace("\\", "/")
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(file.name), location))
    if not location or location.startswith("/") or posixpath.normpath(location).split("/")[0] == "..":
        raise mmh.UsageError(f'data of "{name}" is said to be at "{location}", outside of the model\'s folder')
    found = next((f for f in container.files if f.name == wanted and f.kind == "file"), None)
    if found is None:
        raise mmh.UsageError(f'"{name}" has its data in "{wanted}", which is not in the container')
    try:
        offset = int(place.get("offset") or 0)
        size = int(place["length"]) if place.get("length") else found.bytes - offset
    except ValueError:
        offset = size = -1
    if offset < 0 or size < 0 or offset + size > found.bytes:
        raise mmh.UsageError(f'data of "{name}" is said to be beyond the end of "{wanted}"')
    return found, offset, size


# ---- the wire format of protocol buffers ----

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Moved:
    """A tensor that was taken out of the model: its name, where its values are, type and shape."""

    def __init__(self, name: str, data_type: int, shape: list[int], file: FileInfo, offset: int, size: int) -> None:
        self.name, self.data_type, self.shape = name, data_type, shape
        self.file, self.offset, self.size = file, offset, size


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


class _Wire:
    """Walks messages in a file of a container without reading the large ones."""

    def __init__(self, container: Container, file: FileInfo) -> None:
        self._container, self._file = container, file
        self._at, self._window = 0, b""

    def bytes(self, begin: int, end: int) -> bytes:
        return self._container.read(self._file.index, begin, end - begin)

    def _byte(self, at: int) -> int:
        if not self._at <= at < self._at + len(self._window):
            self._at, self._window = at, self._container.read(self._file.index, at, 4096)
            if not self._window:
                raise mmh.UsageError(f'"{self._file.name}" ends inside a message: it is no ONNX model')
        return self._window[at - self._at]

    def varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._byte(at)
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
            if shift > 63:
                raise mmh.UsageError(f'"{self._file.name}" is no ONNX model: a number of more than 64 bits')

    def fields(self, begin: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
        """(number, kind, where the field begins, where its content does, where it ends); a varint is read later."""
        at = begin
        while at < end:
            key, content = self.varint(at)
            kind = key & 7
            if kind == _VARINT:
                _, after = self.varint(content)
            elif kind == _BYTES:
                size, content = self.varint(content)
                after = content + size
            elif kind in (_FIXED64, _FIXED32):
                after = content + (8 if kind == _FIXED64 else 4)
            else:
                raise mmh.UsageError(f'"{self._file.name}" is no ONNX model: fields of kind {kind}')
            if after > end:
                raise mmh.UsageError(f'"{self._file.name}" is no ONNX model: a field ends outside of its message')
            yield key >> 3, kind, at, content, after
            at = after


# Of onnx.proto: which fields of which messages lead to tensors.
_GRAPH_INITIALIZER = 5
_LEADS = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", _GRAPH_INITIALIZER: "tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 8, 9, 13, 14
_DEPTH = 32


class _Slim:
    """A model as bytes without the values of its graph's large initializers, which become external.

    Only those are taken out: others ONNX Runtime does not take from outside. What is external in graphs
    inside nodes is put into the model instead.

      types   the tensor types that can be given from outside: TensorProto.DataType
      place   what their locations begin with; place-0, place-1, ... in the order of `moved`
      moved   what was taken out
    """

    def __init__(self, container: Container, file: FileInfo, types: Collection[int], place: str = "mmh") -> None:
        self._container, self._file, self._types, self._place = container, file, types, place
        self._wire = _Wire(container, file)
        self.moved: list[_Moved] = []
        self.model = self._message("model", 0, file.bytes, 0)

    def _message(self, kind: str, begin: int, end: int, depth: int) -> bytes:
        if depth > _DEPTH:
            raise mmh.UsageError(f'"{self._file.name}" has graphs inside graphs, more than {_DEPTH} deep')
        parts: list[bytes] = []
        for number, wire_kind, at, content, after in self._wire.fields(begin, end):
            inner = _LEADS[kind].get(number) if wire_kind == _BYTES else None
            if inner == "tensor":
                parts.append(_field(number, self._tensor(content, after, kind == "graph" and depth == 1)))
                continue
            if inner == "node" and b"location" not in (whole := self._wire.bytes(at, after)):
                parts.append(whole)  # nothing external in it, however deep
            elif inner is not None:
                parts.append(_field(number, self._message(inner, content, after, depth + 1)))
            else:
                parts.append(self._wire.bytes(at, after))
        return b"".join(parts)

    def _tensor(self, begin: int, end: int, movable: bool) -> bytes:
        wire, rest = self._wire, bytearray()
        shape: list[int] = []
        external: dict[str, str] = {}
        name, data_type, raw, is_external = "", 0, None, False
        for number, kind, at, content, after in wire.fields(begin, end):
            if number == _RAW_DATA and kind == _BYTES:
                raw = self._file, content, after - content
                continue
            if number == _EXTERNAL_DATA and kind == _BYTES:
                pair = {n: wire.bytes(c, e).decode("utf-8", "replace") for n, _, _, c, e in wire.fields(content, after)}
                external[pair.get(1, "")] = pair.get(2, "")
                continue
            if number == _DATA_LOCATION and kind == _VARINT:
                is_external = wire.varint(content)[0] == 1
                continue
            if number == _DIMS:
                shape += self._extents(kind, content, after)
            elif number == _DATA_TYPE and kind == _VARINT:
                data_type = wire.varint(content)[0]
            elif number == _NAME and kind == _BYTES:
                name = wire.bytes(content, after).decode("utf-8", "replace")
            rest += wire.bytes(at, after)
        place = _external(self._container, self._file, name, external) if is_external else raw
        if place is None:
            return bytes(rest)
        if not movable or data_type not in self._types or place[2] < INLINE_BYTES:
            return bytes(rest) + _field(_RAW_DATA, self._container.read(place[0].index, place[1], place[2]))
        location = f"{self._place}-{len(self.moved)}"
        self.moved.append(_Moved(name, data_type, shape, *place))
        for key, value in (("location", location), ("offset", "0"), ("length", str(place[2]))):
            rest += _field(_EXTERNAL_DATA, _field(1, key.encode()) + _field(2, value.encode()))
        return bytes(rest) + _varint(_DATA_LOCATION << 3 | _VARINT) + _varint(1)

    def _extents(self, kind: int, content: int, after: int) -> list[int]:
        if kind == _VARINT:
            return [self._wire.varint(content)[0]]
        extents = []
        while content < after:
            extent, content = self._wire.varint(content)
            extents.append(extent)
        return extents


# ---- ONNX Runtime ----


def session(
    path: Any, sess_options: Any = None, *, model: str | None = None, open_options: Any = None, **options: Any
) -> Any:
    """An onnxruntime.InferenceSession of a model inside a container.

    The model that ONNX Runtime is given is the one without its weights, and they are decoded into memory that it
    takes them from; there is no temporary file. ONNX Runtime 1.20 and later makes its own copy of them (packed
    for its kernels, where it does that), and what they were decoded into is let go of when the session is made. Older
    versions (1.12 on) keep both. With ORT_DISABLE_ALL and session.disable_prepacking "1" its kernels use the
    memory as it is.

      path           a packed .onnx file or folder; whatever mmh.open takes, or the original
      sess_options   an onnxruntime.SessionOptions; initializers are added to it: one for each session
      model          which one, if the container has several
      open_options   dict: keys, signers, ... of mmh.open
      options        those of InferenceSession; providers are by default the CPU's

    Raises UsageError if there is none, or if it tells of data outside of the container; CorruptError.
    """
    import onnxruntime

    options.setdefault("providers", ["CPUExecutionProvider"])
    chosen = onnxruntime.SessionOptions() if sess_options is None else sess_options
    as_it_is = _uses_memory_as_it_is(chosen)
    from_files = hasattr(chosen, "add_external_initializers_from_files_in_memory") and not as_it_is
    types: Collection[int] = dict(_NUMPY) if hasattr(chosen, "add_external_initializers") else {}
    if types and hasattr(onnxruntime.OrtValue, "ortvalue_from_numpy_with_onnx_type"):
        types = {**_NUMPY, **_BY_NUMBER}
    place = f"mmh-{os.getpid()}-{next(_numbers)}"
    with _models.opened(path, **(open_options or {})) as container:
        file = _models.file_named(container, ".onnx", model=model, what="ONNX model")
        slim = _Slim(container, file, types, place)
        memories = _values(container, slim.moved)
    for entry in slim.moved:
        _check_size(entry)
    if not memories:
        return onnxruntime.InferenceSession(slim.model, chosen, **options)
    if from_files:
        names, sizes = [f"{place}-{number}" for number in range(len(memories))], [memory.size for memory in memories]
        chosen.add_external_initializers_from_files_in_memory(names, memories, sizes)
        return onnxruntime.InferenceSession(slim.model, chosen, **options)
    values = [_ort_value(entry, memory) for entry, memory in zip(slim.moved, memories, strict=True)]
    chosen.add_external_initializers([entry.name for entry in slim.moved], values)
    if as_it_is:
        for entry, value in zip(slim.moved, values, strict=True):
            chosen.add_initializer(entry.name, value)
    made = onnxruntime.InferenceSession(slim.model, chosen, **options)
    made._mmh_memory = memories, values  # it uses them as long as it lives
    return made


_numbers = itertools.count()


def _uses_memory_as_it_is(options: Any) -> bool:
    """Whether a session may be told to use the values themselves: nothing rewrites or repacks initializers.

    Optimizers of graphs do, and keep the names.
    """
    import onnxruntime

    if options.graph_optimization_level != onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL:
        return False
    try:
        return bool(options.get_session_config_entry("session.disable_prepacking") == "1")
    except RuntimeError:  # it was not set
        return False


def _check_size(entry: _Moved) -> None:
    """Raises UsageError if a tensor's values are not of the size that its shape says."""
    if _value_bytes(entry.data_type, entry.shape) != entry.size:
        raise mmh.UsageError(f'"{entry.name}" has {entry.size} bytes for the shape {entry.shape}')


def _values(container: Container, moved: list[_Moved]) -> list[Array]:
    """The values' bytes, by one call for those that are tensors of the container."""
    places = {(info.file, info.file_offset, info.nbytes): info for _, info in container.items()}
    memories = [_arrays.aligned(entry.size) for entry in moved]
    requests: list[tuple[str | int, Any]] = []
    for entry, memory in zip(moved, memories, strict=True):
        info = places.get((entry.file.index, entry.offset, entry.size))
        if info is not None:
            requests.append((info.index, memory))
        else:
            container.read_into(entry.file.index, entry.offset, memory)
    container.load_many(requests)
    return memories


def _ort_value(entry: _Moved, memory: Array) -> Any:
    """An OrtValue over the memory itself."""
    import onnxruntime

    if entry.data_type in _NUMPY:
        return onnxruntime.OrtValue.ortvalue_from_numpy(memory.view(_NUMPY[entry.data_type]).reshape(entry.shape))
    array = memory.view(_BY_NUMBER[entry.data_type]).reshape(entry.shape)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, entry.data_type)


# TensorProto.DataType -> NumPy's type, and of those that NumPy lacks one of their size.
_NUMPY = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
_BY_NUMBER = {16: "uint16", 17: "uint8", 18: "uint8", 19: "uint8", 20: "uint8"}
# How many bits an element has: complex numbers and what shares bytes besides.
_BITS = {number: 8 * np.dtype(kind).itemsize for number, kind in {**_NUMPY, **_BY_NUMBER}.items()}
_BITS |= {14: 64, 15: 128, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2}
