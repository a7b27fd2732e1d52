#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The loader for vLLM: its stream of weights here, and its fit with vLLM's own modules where their source is at hand.

The source is that of an installed vLLM, or a folder named by MMH_VLLM_SOURCE, such as an unzipped wheel:
`pip download --no-deps vllm && unzip vllm-*.whl -d vllm-source`. No weights were ever loaded by vLLM on a GPU here.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from python_support import ROOT, environment, need_mmh  # noqa: E402

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
mmh = need_mmh("torch")

import safetensors.torch  # noqa: E402

from mmh import _packed_weights  # noqa: E402
from mmh._packed_weights import PackedFile, natural_order, weight_files  # noqa: E402


def tensors_of(seed, layers=range(12)):
    torch.manual_seed(seed)
    found = {f"model.layers.{i}.mlp.weight": torch.randn(40, 30).to(torch.bfloat16) for i in layers}
    found |= {f"model.layers.{i}.mlp.experts.{e}.weight": torch.randn(8, 30) for i in layers for e in range(4)}
    return found | {f"model.norm.{seed}": torch.randn(30), f"scale.{seed}": torch.tensor(3.0).to(torch.float8_e4m3fn)}


def same(tensor, expected):
    if tensor.dtype != expected.dtype or tensor.shape != expected.shape:
        return False
    one, two = (value.detach().contiguous().reshape(-1).view(torch.uint8) for value in (tensor, expected))
    return torch.equal(one, two)


@pytest.fixture
def model(tmp_path):
    """(folder, tensors): two shards with their index, one packed and one not."""
    folder = tmp_path / "model"
    folder.mkdir()
    shards = {
        "model-00001-of-00002.safetensors": tensors_of(1, range(0, 6)),
        "model-00002-of-00002.safetensors": tensors_of(2, range(6, 12)),
    }
    for name, tensors in shards.items():
        safetensors.torch.save_file(tensors, folder / name)
    mmh.pack(folder / "model-00001-of-00002.safetensors", level=1, alone=True)
    (folder / "model-00001-of-00002.safetensors").unlink()
    weight_map = {name: shard for shard, tensors in shards.items() for name in tensors}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder, {name: tensor for tensors in shards.values() for name, tensor in tensors.items()}


# ---- the stream, without vLLM ----


def test_a_stream_gives_every_tensor_once_in_natural_order(model):
    folder, tensors = model
    first = weight_files(folder)[0]
    with PackedFile(str(first) + ".mmh") as packed:
        found = list(packed.stream(batch_bytes=5000))
    assert [name for name, _ in found] == sorted((name for name, _ in found), key=natural_order)
    assert len(found) == 32 and all(same(tensor, tensors[name]) for name, tensor in found)


def test_a_stream_holds_one_batch(tmp_path, monkeypatch):
    tensors = {f"layer.{i}": torch.randn(100, 100) for i in range(40)}
    mmh.torch.save_file(tensors, tmp_path / "x.safetensors.mmh", level=1)
    batches = []
    original = PackedFile._load

    def load(self, names):
        batches.append(sum(self._infos[name].nbytes for name in names))
        return original(self, names)

    monkeypatch.setattr(PackedFile, "_load", load)
    with PackedFile(tmp_path / "x.safetensors.mmh") as packed:
        stream = packed.stream(batch_bytes=100_000)
        next(stream)
        assert batches == [80_000]  # nothing is decoded before it is wanted
        assert sum(1 for _ in stream) == 39
    assert sum(batches) == 40 * 40_000 and max(batches) <= 100_000


def test_a_tensor_larger_than_a_batch_is_given_alone(tmp_path):
    tensors = {"a": torch.randn(10), "b": torch.randn(5000), "c": torch.randn(10)}
    mmh.torch.save_file(tensors, tmp_path / "x.safetensors.mmh", level=1)
    with PackedFile(tmp_path / "x.safetensors.mmh") as packed:
        assert [(name, same(tensor, tensors[name])) for name, tensor in packed.stream(batch_bytes=1)] == [
            ("a", True),
            ("b", True),
            ("c", True),
        ]


def test_what_is_not_wanted_is_not_decoded(model, monkeypatch):
    folder, _ = model
    decoded = []
    original = PackedFile._load
    monkeypatch.setattr(PackedFile, "_load", lambda self, names: decoded.extend(names) or original(self, names))
    with PackedFile(str(weight_files(folder)[0]) + ".mmh") as packed:
        names = [name for name, _ in packed.stream(lambda name: ".experts.2." in name)]
    assert len(names) == 6 and decoded == names


def test_damage_ends_the_stream_with_the_tensors_name(tmp_path):
    tensors = {f"layer.{i}": torch.randn(300, 300) for i in range(4)}
    path = tmp_path / "x.safetensors.mmh"
    mmh.torch.save_file(tensors, path, level=1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with PackedFile(path) as packed, pytest.raises(mmh.CorruptError, match=r"layer\.\d"):
        list(packed.stream())


SHARED = """
import sys, torch, torch.distributed as dist
from mmh._packed_weights import PackedFile
rank, store, path, out = int(sys.argv[1]), *sys.argv[2:]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=3)
decoded = []
load = PackedFile._load
PackedFile._load = lambda self, names: decoded.extend(names) or load(self, names)
group = dist.new_group([0, 2])  # ranks of a group are not those of the world
if rank != 1:
    with PackedFile(path) as packed:
        tensors = dict(packed.stream_shared(group, "cpu", batch_bytes=9000))
    torch.save((list(tensors), tensors, decoded), out + str(rank))
dist.barrier()
"""


def test_ranks_that_share_decode_each_tensor_once_between_them(model, tmp_path):
    folder, expected = model
    path = str(weight_files(folder)[0]) + ".mmh"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, str(rank), str(tmp_path / "store"), path, str(tmp_path / "out")],
            env=environment(),
        )
        for rank in range(3)
    ]
    assert [rank.wait(timeout=180) for rank in ranks] == [0, 0, 0]
    found = [torch.load(str(tmp_path / "out") + rank) for rank in "02"]
    assert found[0][0] == found[1][0] and len(found[0][0]) == 32
    for _, tensors, decoded in found:
        assert all(same(tensor, expected[name]) for name, tensor in tensors.items())
        assert 8 < len(decoded) < 24
    assert sorted(found[0][2] + found[1][2]) == sorted(found[0][0])


# ---- which files a folder's weights are in ----


def test_the_files_are_those_of_the_index_packed_or_not(model):
    folder, _ = model
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    safetensors.torch.save_file({"x": torch.zeros(1)}, folder / "consolidated.safetensors")
    assert [path.name for path in weight_files(folder)] == names
    (folder / "model-00001-of-00002.safetensors.mmh").unlink()
    with pytest.raises(mmh.UsageError, match=r"model-00001-of-00002\.safetensors"):
        weight_files(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert [path.name for path in weight_files(folder)] == ["consolidated.safetensors", names[1]]


def test_shards_and_index_in_one_container_are_found(model, tmp_path):
    folder, expected = model
    mmh.unpack(folder / "model-00001-of-00002.safetensors.mmh", folder)
    other = tmp_path / "one"
    other.mkdir()
    mmh.pack(folder / "model.safetensors.index.json", other / "model.safetensors.index.json.mmh", level=1)
    found = {}
    for file in weight_files(other):
        with PackedFile(_packed_weights.container_of(file), file) as packed:
            found |= dict(packed.stream())
    assert found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in found)


def test_a_folder_without_weights_says_so(tmp_path):
    with pytest.raises(mmh.UsageError, match="safetensors"):
        weight_files(tmp_path)


# ---- vLLM's own source ----


def vllm_source():
    """The folder that holds vLLM's package, or a skip that says how to get one."""
    named = os.environ.get("MMH_VLLM_SOURCE")
    if named:
        assert Path(named, "vllm", "plugins").is_dir(), f"no vllm beneath {named}"
        return Path(named)
    spec = importlib.machinery.PathFinder.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("no vLLM here; MMH_VLLM_SOURCE may name a folder with its source")
    return Path(spec.submodule_search_locations[0]).parent


def definitions(source, module):
    """{name: node} of a module's top level, and of its classes' bodies as "Class.name"."""
    found = {}
    for node in ast.parse(source.joinpath(*module.split(".")).with_suffix(".py").read_text()).body:
        named = [node] if hasattr(node, "name") else []
        for member in named:
            found[member.name] = member
            for inner in getattr(member, "body", ()) if isinstance(member, ast.ClassDef) else ():
                if hasattr(inner, "name"):
                    found[f"{member.name}.{inner.name}"] = inner
    return found


def parameters(function):
    return [argument.arg for argument in [*function.args.args, *function.args.kwonlyargs]]


def test_vllm_has_the_names_and_signatures_that_the_loader_uses():
    source = vllm_source()
    loader = "vllm.model_executor.model_loader"
    default = definitions(source, f"{loader}.default_loader")
    assert [base.id for base in default["DefaultModelLoader"].bases] == ["BaseModelLoader"]
    assert parameters(default["DefaultModelLoader.__init__"]) == ["self", "load_config"]
    assert parameters(default["DefaultModelLoader.download_model"]) == ["self", "model_config"]
    assert parameters(default["DefaultModelLoader.load_weights"]) == ["self", "model", "model_config"]
    assert parameters(default["DefaultModelLoader._get_weights_iterator"]) == ["self", "source"]
    fields = {node.target.id for node in default["DefaultModelLoader.Source"].body if isinstance(node, ast.AnnAssign)}
    assert fields == {
        "model_or_path",
        "revision",
        "subfolder",
        "prefix",
        "fall_back_to_pt",
        "allow_patterns_overrides",
        "is_unused_weight",
    }
    # Whoever calls the method that is overridden takes (name, tensor) pairs, from `Source`s.
    calls = [
        node
        for node in ast.walk(default["DefaultModelLoader.get_all_weights"])
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "_get_weights_iterator"
    ]
    assert len(calls) == 2 and all(len(call.args) == 1 and not call.keywords for call in calls)
    assert "self.local_expert_ids" in ast.unparse(default["DefaultModelLoader.__init__"])
    utils = definitions(source, f"{loader}.weight_utils")
    assert parameters(utils["download_weights_from_hf"]) == [
        "model_name_or_path",
        "cache_dir",
        "allow_patterns",
        "revision",
        "subfolder",
        "ignore_patterns",
    ]
    assert parameters(definitions(source, f"{loader}.ep_weight_filter")["should_skip_weight"]) == [
        "weight_name",
        "local_expert_ids",
    ]
    assert parameters(definitions(source, f"{loader}.__init__")["register_model_loader"]) == ["load_format"]
    group = definitions(source, "vllm.distributed.parallel_state")
    assert "get_tp_group" in group
    text = ast.unparse(group["GroupCoordinator"])
    assert "self.device =" in text and "device_group" in text and "world_size" in text


def test_vllm_looks_for_plugins_where_the_package_says_it_is_one():
    plugins = (vllm_source() / "vllm" / "plugins" / "__init__.py").read_text()
    entry = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert entry["vllm.general_plugins"] == {"mmh": "mmh.vllm:register"}
    assert 'DEFAULT_PLUGINS_GROUP = "vllm.general_plugins"' in plugins


PROGRAM = """
import importlib.metadata, json, logging, sys, types
sys.path.insert(0, sys.argv[1])
import vllm_stubs
vllm_stubs.install(sys.argv[2])
folder = sys.argv[3]
import torch

# As vLLM's processes do: entry points, the functions that they name, twice.
entry = importlib.metadata.EntryPoint("mmh", "mmh.vllm:register", "vllm.general_plugins")
importlib.metadata.entry_points = lambda group: [entry] if group == "vllm.general_plugins" else []
import vllm.plugins
told = []
Handler = type("Handler", (logging.Handler,), {"emit": lambda self, record: told.append(record)})
logging.getLogger().addHandler(Handler())
vllm.plugins.load_general_plugins()
entry.load()()
assert not [record for record in told if "already registered" in record.getMessage()]

from vllm.config.load import LoadConfig
from vllm.model_executor.model_loader import get_model_loader
from vllm.model_executor.model_loader.base_loader import BaseModelLoader
from vllm.model_executor.model_loader.default_loader import DefaultModelLoader
import vllm.config, vllm.distributed
import vllm.model_executor.model_loader.default_loader as default_loader

class Parallel:
    enable_expert_parallel = enable_ep_weight_filter = True
    enable_eplb = False
    data_parallel_size = prefill_context_parallel_size = 1
    tensor_parallel_size = 2
    expert_placement_strategy = "linear"

vllm.config.get_current_vllm_config = lambda: types.SimpleNamespace(parallel_config=Parallel)
vllm.distributed.get_tensor_model_parallel_rank = lambda: 1
vllm.distributed.get_tp_group = lambda: types.SimpleNamespace(world_size=1)

class Model(torch.nn.Module):
    def __init__(self, names):
        super().__init__()
        self.names = names
        self.parts = torch.nn.ParameterDict()
    def named_parameters(self):
        return [(name, None) for name in self.names]
    def load_weights(self, weights):
        self.got = dict(weights)
        return set(self.got)

result = {}
def load(name, names, extra=None, moe=False, **attributes):
    loader = get_model_loader(LoadConfig(load_format="MMH", model_loader_extra_config=extra or {}))
    assert isinstance(loader, BaseModelLoader) and isinstance(loader, DefaultModelLoader)
    config = types.SimpleNamespace(
        model=folder, revision=None, quantization=None, multimodal_config=None, is_moe=moe,
        get_num_experts=lambda: 4)
    model = Model(names)
    for key, value in attributes.items():
        setattr(model, key, value)
    loader.download_model(config)
    loader.load_weights(model, config)
    torch.save(model.got, folder + "/" + name)

everything = json.loads(sys.argv[4])
load("all", everything)
load("threads", everything, {"threads": 1, "batch_bytes": 5000, "share": True, "enable_weights_track": True})
load("experts", [name for name in everything if ".experts." not in name], moe=True)
load("unused", [], is_unused_checkpoint_weight=lambda name: ".experts." in name)
Source = DefaultModelLoader.Source
load("second", [], secondary_weights=[Source(folder, None, prefix="again.")])
load("pattern", [], allow_patterns_overrides=["none*", "model-00001*.safetensors"])
for extra in ({"threads": -1}, {"threads": True}, {"share": 1}, {"other": 1}):
    try:
        get_model_loader(LoadConfig(load_format="mmh", model_loader_extra_config=extra))
    except ValueError as error:
        result.setdefault("refused", []).append(str(error))
try:
    load("missing", [*everything, "model.lm_head.weight"])
except ValueError as error:
    result["missing"] = str(error)
import mmh, mmh.vllm
del DefaultModelLoader._get_weights_iterator
try:
    mmh.vllm._check()
except mmh.UnsupportedError as error:
    result["unknown"] = str(error)
print(json.dumps(result))
"""


def test_vllms_own_loader_modules_load_every_weight_through_the_plugin(model, tmp_path):
    pytest.importorskip("pydantic", reason="vLLM's config needs pydantic")
    pytest.importorskip("huggingface_hub")
    source = vllm_source()
    folder, expected = model
    (tmp_path / "program.py").write_text(PROGRAM)
    run = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), str(HERE), str(source), str(folder), json.dumps(list(expected))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout.splitlines()[-1])

    def got(name):
        return torch.load(folder / name)

    for name in ("all", "threads"):
        found = got(name)
        assert found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    # Rank 1 of 2 has the experts 2 and 3.
    assert got("experts").keys() == {key for key in expected if ".experts.0." not in key and ".experts.1." not in key}
    assert got("unused").keys() == {key for key in expected if ".experts." not in key}
    assert got("second").keys() == {*expected, *("again." + key for key in expected)}
    assert got("pattern").keys() == tensors_of(1, range(0, 6)).keys()
    assert len(result["refused"]) == 4
    assert "model.lm_head.weight" in result["missing"]
    assert "_get_weights_iterator" in result["unknown"]


def test_importing_the_module_without_vllm_is_an_import_error():
    if importlib.machinery.PathFinder.find_spec("vllm"):
        pytest.skip("vLLM is here")
    run = subprocess.run(
        [sys.executable, "-c", "import mmh.vllm"], capture_output=True, text=True, check=False, env=environment()
    )
    assert run.returncode == 1 and "No module named 'vllm'" in run.stderr
