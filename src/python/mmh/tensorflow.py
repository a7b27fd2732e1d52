# SPDX-License-Identifier: Apache-2.0
"""TensorFlow: tensors, SavedModels and checkpoints straight from a container.

`load_file`, `save_file`, `load`, `save` are what safetensors.tensorflow has. `load_saved_model`,
`load_checkpoint` and `restore` take a container of what TensorFlow itself has written, or the original
folder. docs/python-frameworks.md says which way each goes, and what it holds in memory meanwhile.
"""

from __future__ import annotations

import importlib
import itertools
import os
import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf

import mmh
from mmh import _arrays, _bundle, _models
from mmh import numpy as mmh_numpy
from mmh._arrays import Array
from mmh._container import Container, FileInfo, TensorInfo

__all__ = [
    "CheckpointReader",
    "Restored",
    "load",
    "load_checkpoint",
    "load_file",
    "load_saved_model",
    "restore",
    "save",
    "save_file",
]

BATCH_BYTES = 256 << 20
"""So much is decoded before it is handed to variables."""

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_numbers = itertools.count()


# ---- tensors ----


_BY_NAME = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


def _type_of(name: str, tensor: str = "a tensor") -> tf.DType:
    """TensorFlow's type for an element type of mmh. Raises UnsupportedError, which names `tensor`.

    By name, as TensorFlow before 2.14 has a bfloat16 of its own, which is not that of ml_dtypes.
    """
    kind = mmh_numpy.dtype_of(name, of=tensor)
    places = (tf, tf.dtypes, getattr(tf.dtypes, "experimental", None))
    try:
        if name in _BY_NAME:
            return next(getattr(place, _BY_NAME[name]) for place in places if hasattr(place, _BY_NAME[name]))
        return tf.dtypes.as_dtype(kind)
    except (StopIteration, TypeError):
        raise mmh.UnsupportedError(f"{tensor} is of type {name}, which TensorFlow does not have") from None


def _tensor_of(array: Array) -> tf.Tensor:
    """A tensor over the array's own memory, where TensorFlow allows that; else over a copy.

    It does by DLPack for what DLPack has, and so for bfloat16 by way of uint16. tf.convert_to_tensor always
    copies; it is left for the 8-bit floats, which tf.bitcast does not take.
    """
    try:
        if array.dtype.name == "bfloat16":
            shared = tf.experimental.dlpack.from_dlpack(array.view(np.uint16).__dlpack__())
            return tf.bitcast(shared, tf.bfloat16)
        if array.dtype.isbuiltin == 1:
            return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    except (BufferError, RuntimeError, TypeError, ValueError, tf.errors.OpError):
        pass  # NumPy's or TensorFlow's DLPack is too old for this type (bool)
    if array.dtype.isbuiltin == 1:
        return tf.convert_to_tensor(array)
    own = next(_type_of(name) for name, kind in _BY_NAME.items() if kind == array.dtype.name)
    return tf.convert_to_tensor(array.view(own.as_numpy_dtype))


def _array_of(name: str, tensor: Any) -> Array:
    """A tensor's or variable's elements; the tensor's own memory, read only, where it gives that away."""
    if isinstance(tensor, tf.Variable):
        tensor = tensor.read_value()
    if not isinstance(tensor, tf.Tensor):
        raise TypeError(f'"{name}" must be a tf.Tensor, and is {type(tensor).__name__}')
    try:
        if tensor.dtype == tf.bfloat16:
            return np.asarray(memoryview(tf.bitcast(tensor, tf.uint16))).view(tensor.dtype.as_numpy_dtype)
        return np.asarray(memoryview(tensor))
    except (BufferError, TypeError, ValueError):
        return np.asarray(tensor.numpy())  # a copy: 8-bit floats, and memory of another device


def _arrays_of(tensors: Mapping[str, Any]) -> dict[str, Array]:
    if not isinstance(tensors, Mapping):
        raise TypeError(f"tensors must be a dict of str to tf.Tensor, not {type(tensors).__name__}")
    return {name: _array_of(name, tensor) for name, tensor in tensors.items()}


def _check(infos: Iterable[TensorInfo]) -> None:
    """Before anything is decoded: whether TensorFlow has all of these types."""
    for info in infos:
        _type_of(info.dtype, f'"{info.name}"')


def _placed(array: Array, device: Any) -> tf.Tensor:
    tensor = _tensor_of(array)
    if device in (None, "cpu"):
        return tensor
    with tf.device(f"/GPU:{device}" if isinstance(device, int) else device):
        return tf.identity(tensor)


def get(container: Container, name: str, device: Any = None) -> tf.Tensor:
    """One tensor of a container. Raises as load_file."""
    _check([container.tensor(name)])
    return _placed(_arrays.load_arrays(container, [name])[0], device)


def get_slice(
    container: Container, info: TensorInfo, begin: tuple[int, ...], end: tuple[int, ...], device: Any = None
) -> tf.Tensor:
    """Elements begin[d] <= i < end[d] of a tensor; only their chunks are read."""
    _check([info])
    return _placed(_arrays.load_slice(container, info, begin, end), device)


def load_all(container: Container, device: Any = None, names: Iterable[str] | None = None) -> dict[str, tf.Tensor]:
    """Tensors of a container, by one call; by default all."""
    wanted = list(container.keys() if names is None else names)
    _check(container.tensor(name) for name in wanted)
    arrays = _arrays.load_arrays(container, wanted)
    arrays.reverse()
    return {name: _placed(arrays.pop(), device) for name in wanted}


def load_file(
    filename: Any, *, names: Iterable[str] | None = None, device: Any = None, **options: Any
) -> dict[str, tf.Tensor]:
    """Load tensors from a container, or from an original model file.

    Returns {name: tf.Tensor}, each with the shape and type it was packed with. On the CPU they share the
    memory that they were decoded into; 8-bit floats are copied once by TensorFlow.

      filename   whatever mmh.open takes; `options` are its own
      names      which tensors; default: all
      device     "/GPU:0", a number, ...: moved there one by one; None: the CPU

    Raises UnsupportedError for a type that TensorFlow lacks, MissingTensorError, CorruptError.
    """
    with _models.opened(filename, **options) as container:
        return load_all(container, device, names)


def load(data: Any, **options: Any) -> dict[str, tf.Tensor]:
    """The same of a container in memory, as `save` gives it."""
    return load_file(data, **options)


def save_file(
    tensors: Mapping[str, Any], filename: Any, metadata: Mapping[str, str] | None = None, **options: Any
) -> mmh.PackReport:
    """Pack tensors and variables as the safetensors file that they make.

    `options` are those of mmh.numpy.save_file: overwrite, level, recipients, ... Tensors of the CPU are read
    where they are, 8-bit floats from a copy that TensorFlow makes.
    Raises TypeError for what is no tensor, UnsupportedError for a type that safetensors lacks.
    """
    return mmh_numpy.save_file(_arrays_of(tensors), filename, metadata, **options)


def save(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None, **options: Any) -> bytes:
    """The same as bytes."""
    return mmh_numpy.save(_arrays_of(tensors), metadata, **options)


# ---- TensorFlow's file system in memory ----


class _MemoryFolder:
    """A folder of TensorFlow's own file system in the memory of this process (ram://).

    Nothing of it can outlive the process, and no other can read it. TensorFlow reads it as it does a disk.
    """

    def __init__(self) -> None:
        self.path = f"ram://mmh/{os.getpid()}-{next(_numbers)}"
        self.names: list[str] = []
        tf.io.gfile.makedirs(self.path)

    def __enter__(self) -> _MemoryFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        if tf.io.gfile.exists(self.path):
            tf.io.gfile.rmtree(self.path)

    def remove_with(self, owner: Any) -> None:
        """Remove it when `owner` goes."""
        weakref.finalize(owner, self.remove)

    def add(self, container: Container, file: FileInfo, name: str) -> None:
        """A whole original file."""
        with self._create(name) as target:
            _models.copy_file(container, file, target)

    def _create(self, name: str) -> Any:
        path = f"{self.path}/{name}"
        self.names.append(name)
        tf.io.gfile.makedirs(path.rpartition("/")[0])
        return tf.io.gfile.GFile(path, "wb")


# ---- checkpoints ----


class _Bundle:
    """A checkpoint inside a container: PREFIX.index and PREFIX.data-?????-of-?????."""

    def __init__(self, container: Container, prefix: str) -> None:
        self.container, self.prefix = container, prefix
        files = [file for file in container.files if file.kind == "file"]
        found = [file for file in files if file.name == f"{prefix}.index"]
        if not found:
            raise mmh.UsageError(f'there is no checkpoint "{prefix}" here')
        self.index = found[0]
        self.shards = [file for file in files if file.name.startswith(f"{prefix}.data-")]
        numbers = {file.index for file in self.shards}
        self.tensors = {info.name: info for _, info in container.items() if info.file in numbers}

    def write(self, folder: _MemoryFolder, name: str, *, whole: bool) -> str:
        """Write its files as `name`: all, or the index alone. Returns the prefix."""
        folder.add(self.container, self.index, f"{name}.index")
        for shard in self.shards if whole else ():
            folder.add(self.container, shard, name + shard.name.removeprefix(self.prefix))
        return f"{folder.path}/{name}"

    def strings(self, name: str) -> list[bytes]:
        """The elements of a tensor of strings. Raises UnsupportedError where the index is of another kind."""
        try:
            entry = _bundle.find(self.container.read(self.index.index), name)
            if entry is None:
                raise _bundle.TableError("it has no such name")
            number = f".data-{entry.shard:05d}-of-"
            shard = next((file for file in self.shards if number in file.name), None)
            if shard is None or entry.offset + entry.size > shard.bytes or entry.count > entry.size:
                raise _bundle.TableError("it has no such bytes")
            return _bundle.strings(self.container.read(shard.index, entry.offset, entry.size), entry.count)
        except _bundle.TableError as problem:
            raise mmh.UnsupportedError(f'"{name}" cannot be read from {self.index.name}: {problem}') from None


def _find_prefix(container: Container, prefix: str | None) -> str:
    """The checkpoint that is meant: the one named, the newest by its "checkpoint" file, or the only one."""
    names = [file.name.removesuffix(".index") for file in container.files if file.name.endswith(".index")]
    names = [name for name in names if any(file.name.startswith(f"{name}.data-") for file in container.files)]
    if prefix is not None:
        wanted = prefix.removesuffix(".index")
        if wanted not in names:
            raise mmh.UsageError(f'there is no checkpoint "{wanted}" here; there are: {", ".join(names) or "none"}')
        return wanted
    if len(names) == 1:
        return names[0]
    for file in container.files:
        if file.name.rpartition("/")[2] == "checkpoint" and file.kind == "file" and file.bytes < 1 << 20:
            newest = _newest(container.read(file.index, 0, file.bytes).decode("utf-8", "replace"))
            folder = file.name.rpartition("/")[0]
            if newest is not None and (f"{folder}/{newest}" if folder else newest) in names:
                return f"{folder}/{newest}" if folder else newest
    if not names:
        raise mmh.UsageError("there is no checkpoint here: no .index with its .data files")
    raise mmh.UsageError(f"there are several checkpoints here ({', '.join(names[:4])}): say which by prefix=")


def _newest(state: str) -> str | None:
    """model_checkpoint_path of a "checkpoint" file, a protocol buffer as text."""
    for line in state.splitlines():
        key, mark, value = line.partition(":")
        if mark and key.strip() == "model_checkpoint_path":
            return value.strip().strip("\"'").removeprefix("./").rpartition("/")[2]
    return None


class CheckpointReader:
    """What tf.train.load_checkpoint gives, of a checkpoint inside a container.

    Its methods, under TensorFlow's names. What there is TensorFlow tells from a copy of the index, in memory;
    values come from the container. A context manager.
    """

    def __init__(self, container: Container, prefix: str, keep: Any = None) -> None:
        self._bundle = _Bundle(container, prefix)
        self._keep = keep
        self._folder = _MemoryFolder()
        self._folder.remove_with(self)
        prefix_in_memory = self._bundle.write(self._folder, "checkpoint", whole=False)
        self._reader = tf.compat.v1.train.NewCheckpointReader(prefix_in_memory)
        self._dtypes = self._reader.get_variable_to_dtype_map()
        self._shapes = self._reader.get_variable_to_shape_map()

    def __enter__(self) -> CheckpointReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the container, if it was opened here."""
        if self._keep is not None:
            self._keep.close()
        self._folder.remove()

    def get_variable_to_dtype_map(self) -> dict[str, tf.DType]:
        """Types by name."""
        return dict(self._dtypes)

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Shapes by name."""
        return dict(self._shapes)

    def has_tensor(self, name: str) -> bool:
        """Whether there is one of that name."""
        return name in self._dtypes

    def plain(self, name: str) -> bool:
        """Whether the container has it as a tensor of the type and shape that the checkpoint says."""
        info = self._bundle.tensors.get(name)
        if info is None or name not in self._dtypes:
            return False
        try:
            kind = _type_of(info.dtype)
        except mmh.UnsupportedError:
            return False
        return kind == self._dtypes[name] and list(info.shape) == list(self._shapes[name])

    def get_tensor(self, name: str) -> Array:
        """A tensor's value: an array, or what TensorFlow's reader gives for strings.

        Raises MissingTensorError, and UnsupportedError for numbers of a type that is not known here.
        """
        value: Array = self.get_tensors([name])[name]
        return value

    def get_tensors(self, names: Iterable[str]) -> dict[str, Any]:
        """Several at once: each chunk is decoded once."""
        wanted = list(names)
        for name in wanted:
            if name not in self._dtypes:
                raise mmh.MissingTensorError(f'there is no "{name}" in the checkpoint')
        plain = {name: self._bundle.tensors[name].index for name in wanted if self.plain(name)}
        arrays = dict(zip(plain, _arrays.load_arrays(self._bundle.container, plain.values()), strict=True))
        found: dict[str, Any] = {}
        for name in wanted:
            if name in arrays:
                found[name] = arrays[name]
            elif self._dtypes[name] == tf.string:
                elements = self._bundle.strings(name)
                shape = self._shapes[name]
                found[name] = np.array(elements, object).reshape(shape) if shape else elements[0]
            else:
                raise mmh.UnsupportedError(f'"{name}" is {self._dtypes[name].name}: not read from a container')
        return found


def load_checkpoint(path: Any, prefix: str | None = None, **options: Any) -> CheckpointReader:
    """The reader of a checkpoint inside a container, like tf.train.load_checkpoint.

      path     a packed folder of checkpoints, or SavedModel; whatever mmh.open takes, or an original folder
      prefix   "ckpt-7" of ckpt-7.index; default: the only one, or the newest by its "checkpoint" file

    Raises UsageError if there is none, or if it is not clear which.
    """
    if isinstance(path, Container):
        return CheckpointReader(path, _find_prefix(path, prefix))
    if _models.is_original(path):
        container = mmh.open_original(path)
    else:
        container = mmh.open(path, **options)
    try:
        return CheckpointReader(container, _find_prefix(container, prefix), container)
    except BaseException:
        container.close()
        raise


# ---- object graphs ----


class _OtherwiseError(Exception):
    """Not all of it is plain variables: TensorFlow has to restore it itself."""


class Restored:
    """What `restore` did.

    variables   how many were set
    in_memory   whether TensorFlow itself restored, from a copy of the checkpoint in memory
    status      what tf.train.Checkpoint.restore gave then; else None
    """

    def __init__(self, variables: int, status: Any = None) -> None:
        self.variables, self.status = variables, status
        self.in_memory = status is not None

    def __repr__(self) -> str:
        how = "by TensorFlow, from a copy in memory" if self.in_memory else f"{self.variables} variables"
        return f"Restored({how})"


def _variable_of(item: Any) -> tf.Variable | None:
    """The tf.Variable that an object is, or (Keras 3) has as its value."""
    if isinstance(item, tf.Variable):
        return item
    value = getattr(item, "value", None) if type(item).__module__.split(".")[0] == "keras" else None
    return value if isinstance(value, tf.Variable) else None


def _object_graph(reader: CheckpointReader) -> Any:
    if not reader.has_tensor(_OBJECT_GRAPH):
        raise _OtherwiseError("it has names and no object graph")
    trackable_object_graph_pb2: Any = importlib.import_module("tensorflow.core.protobuf.trackable_object_graph_pb2")
    try:
        data = reader._bundle.strings(_OBJECT_GRAPH)[0]
    except mmh.UnsupportedError as problem:
        raise _OtherwiseError(str(problem)) from None
    return trackable_object_graph_pb2.TrackableObjectGraph.FromString(data)


def _match(root: Any, reader: CheckpointReader) -> list[tuple[tf.Variable, str]]:
    """Which variable takes which tensor, by walking the objects and the checkpoint's graph side by side.

    Raises _OtherwiseError if the objects hold anything to restore that is no plain variable, if one of their
    variables is not in the checkpoint, or the checkpoint has values for objects that are not there (yet).
    """
    graph = _object_graph(reader)
    view = tf.train.TrackableView
    matched: dict[int, Any] = {0: root}
    queue, seen = [0], {id(root)}
    pairs: dict[str, tf.Variable] = {}
    while queue:
        number = queue.pop()
        node, owner = graph.nodes[number], matched[number]
        if node.HasField("registered_saver"):
            raise _OtherwiseError("an object has a saver of its own")
        for attribute in node.attributes:
            variable, key = _variable_of(owner), attribute.checkpoint_key
            if attribute.name != "VARIABLE_VALUE" or variable is None:
                raise _OtherwiseError(f"{type(owner).__name__} keeps {attribute.name}")
            if not reader.plain(key) or variable.dtype != reader._dtypes[key]:
                raise _OtherwiseError(f"{key} is no plain tensor")
            pairs[key] = variable
        children = view.children(owner)
        for child in node.children:
            if child.node_id in matched or child.local_name not in children:
                continue
            matched[child.node_id] = children[child.local_name]
            queue.append(child.node_id)
    _match_slots(graph, matched, reader, pairs)
    for number, node in enumerate(graph.nodes):
        if number not in matched and any(a.checkpoint_key not in pairs for a in node.attributes):
            raise _OtherwiseError("it has values for objects that are not there")
    given = {id(variable) for variable in pairs.values()}
    pending = [root]
    while pending:
        for child in view.children(pending.pop()).values():
            if id(child) in seen:
                continue
            seen.add(id(child))
            pending.append(child)
            variable = _variable_of(child)
            if variable is not None and id(variable) not in given:
                raise _OtherwiseError(f"{variable.name} is not in the checkpoint")
    return [(variable, key) for key, variable in pairs.items()]


def _match_slots(graph: Any, matched: dict[int, Any], reader: CheckpointReader, pairs: dict[str, tf.Variable]) -> None:
    """Slot variables of optimizers of the old kind."""
    for number, owner in list(matched.items()):
        for slot in graph.nodes[number].slot_variables:
            variable = matched.get(slot.original_variable_node_id)
            if variable is None or not hasattr(owner, "get_slot"):
                continue
            place = _variable_of(owner.get_slot(variable, slot.slot_name))
            for attribute in graph.nodes[slot.slot_variable_node_id].attributes:
                if place is None or not reader.plain(attribute.checkpoint_key):
                    raise _OtherwiseError(f"slot {slot.slot_name}")
                pairs[attribute.checkpoint_key] = place
            matched[slot.slot_variable_node_id] = place


def _assign(pairs: list[tuple[tf.Variable, str]], reader: CheckpointReader) -> None:
    """Set variables, a batch at a time. On the CPU a variable takes over the memory it is given."""
    container, infos = reader._bundle.container, reader._bundle.tensors
    variables = {infos[name].index: variable for variable, name in pairs}
    order = sorted((infos[name] for _, name in pairs), key=lambda info: (info.file, info.file_offset))
    for group in _arrays.batches(container, [info.index for info in order], BATCH_BYTES):
        arrays = _arrays.load_arrays(container, group)
        arrays.reverse()
        for index in group:
            variables[index].assign(_tensor_of(arrays.pop()))


def restore(root: Any, path: Any, prefix: str | None = None, **options: Any) -> Restored:
    """Restore the objects under `root` from a checkpoint inside a container.

    `root` is what was given to tf.train.Checkpoint, or such a checkpoint object; its variables exist already.
    They are set straight from the container. Where there is more than variables (lookup tables, iterators,
    objects that are made later), TensorFlow's own restore is given a copy of the checkpoint in the memory
    of this process, which stays until `root` is gone, as it may restore what is made later.

    Raises UsageError if there is no such checkpoint.
    """
    with (
        _models.opened(path, **options) as container,
        CheckpointReader(container, _find_prefix(container, prefix)) as reader,
    ):
        try:
            if tf.distribute.has_strategy() or not tf.executing_eagerly():
                raise _OtherwiseError("variables are not this process's alone")
            pairs = _match(root, reader)
        except _OtherwiseError:
            folder = _MemoryFolder()
            folder.remove_with(root)
            checkpoint = root if isinstance(root, tf.train.Checkpoint) else tf.train.Checkpoint(root)
            return Restored(0, checkpoint.restore(reader._bundle.write(folder, "checkpoint", whole=True)))
        _assign(pairs, reader)
    return Restored(len(pairs))


# ---- SavedModel ----


def load_saved_model(
    path: Any,
    tags: Any = None,
    options: tf.saved_model.LoadOptions | None = None,
    *,
    model: str | None = None,
    **open_options: Any,
) -> Any:
    """tf.saved_model.load of a SavedModel inside a container.

    The graph is read from a copy of its files without the weights, in the memory of this process, and the
    variables are set straight from the container: the weights are held once. Where that does not do (a
    SavedModel of TensorFlow 1, lookup tables in the checkpoint, `options`, a distribution strategy)
    TensorFlow loads from a whole copy in memory, which is let go of afterwards. Assets stay in memory as
    long as the object does.

      path    a packed SavedModel folder; whatever mmh.open takes (with open_options), or an original folder
      model   which one, if the container has several: the folder's name in it

    A SavedModel is a program: TensorFlow runs it when it is called, and its table initialisers at once.
    Raises UsageError if there is none, CorruptError, and what tf.saved_model.load raises.
    """
    with _models.opened(path, **open_options) as container:
        proto = _models.file_named(container, "saved_model.pb", model=model, what="SavedModel")
        top = proto.name.removesuffix("saved_model.pb")
        inside = [file for file in container.files if file.kind == "file" and file.name.startswith(top)]
        try:
            if options is not None or tf.distribute.has_strategy() or not tf.executing_eagerly():
                raise _OtherwiseError("as TensorFlow does it")
            return _load_by_variables(container, inside, top, tags)
        except (_OtherwiseError, tf.errors.FailedPreconditionError):
            return _load_from_memory(container, inside, top, tags, options)


def _is_shard(name: str) -> bool:
    return name.startswith("variables/variables.data-")


def _load_by_variables(container: Container, inside: list[FileInfo], top: str, tags: Any) -> Any:
    folder = _MemoryFolder()
    try:
        for file in inside:
            if not _is_shard(file.name.removeprefix(top)):
                folder.add(container, file, file.name.removeprefix(top))
        skip = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
        root = tf.saved_model.load(folder.path, tags=tags, options=skip)
        if any(file.name == f"{top}variables/variables.index" for file in inside):
            with CheckpointReader(container, f"{top}variables/variables") as reader:
                _assign(_match(root, reader), reader)
    except BaseException:
        folder.remove()
        raise
    _keep_assets(folder, root)
    return root


def _load_from_memory(
    container: Container, inside: list[FileInfo], top: str, tags: Any, options: tf.saved_model.LoadOptions | None
) -> Any:
    folder = _MemoryFolder()
    try:
        for file in inside:
            folder.add(container, file, file.name.removeprefix(top))
        root = tf.saved_model.load(folder.path, tags=tags, options=options)
    except BaseException:
        folder.remove()
        raise
    _keep_assets(folder, root)
    return root


def _keep_assets(folder: _MemoryFolder, root: Any) -> None:
    """Remove all but the assets now, and those when the object goes."""
    if not any(name.startswith("assets/") for name in folder.names):
        folder.remove()
        return
    for name in folder.names:
        if not name.startswith("assets/"):
            tf.io.gfile.remove(f"{folder.path}/{name}")
    folder.remove_with(root)
