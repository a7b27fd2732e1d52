# SPDX-License-Identifier: Apache-2.0
"""vLLM's own loader modules without the rest of it: what they import beside each other is stood in for."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import sys
import types
from pathlib import Path

# Run as they are; everything else of vLLM is a stand-in.
REAL = (
    "vllm.config.load",
    "vllm.config.utils",
    "vllm.model_executor.model_loader",
    "vllm.model_executor.model_loader.base_loader",
    "vllm.model_executor.model_loader.default_loader",
    "vllm.model_executor.model_loader.ep_weight_filter",
    "vllm.model_executor.model_loader.weight_utils",
    "vllm.plugins",
    "vllm.utils.import_utils",
)


class Logger(logging.LoggerAdapter):
    """vLLM's logger has methods that say a thing once."""

    def __getattr__(self, name):
        if name.endswith("_once"):
            return getattr(self, name.removesuffix("_once"))
        raise AttributeError(name)


def decorate(*_arguments, **_options):
    """A decorator with arguments that decorates nothing."""
    return lambda function: function


KNOWN = {
    "vllm.logger": {"init_logger": lambda name: Logger(logging.getLogger(name), {})},
    "vllm.tracing": {"instrument": decorate},
    "vllm.envs": {"VLLM_PLUGINS": None},
}


class StandIn(types.ModuleType):
    """A module in which every name is there: a class of its own, or a function that may not be called."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        if name in KNOWN.get(self.__name__, {}):
            value = KNOWN[self.__name__][name]
        elif name[0].isupper():
            value = type(name, (), {"__module__": self.__name__})
        else:

            def value(*_arguments, **_options):
                raise NotImplementedError(f"{self.__name__}.{name} is a stand-in")

        setattr(self, name, value)
        return value


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds modules of vLLM: those in REAL in its source, the others as stand-ins."""

    def __init__(self, source):
        self.source = Path(source)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] != "vllm":
            return None
        if name in REAL:
            base = self.source.joinpath(*name.split("."))
            for file, package in ((base / "__init__.py", True), (base.with_suffix(".py"), False)):
                if file.is_file():
                    return importlib.util.spec_from_file_location(
                        name, file, submodule_search_locations=[str(base)] if package else None
                    )
            raise ModuleNotFoundError(f"vLLM has no module {name} any more", name=name)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module):
        module.__path__ = []


def install(source):
    """Let `import vllm...` find the modules of REAL beneath `source`."""
    sys.meta_path.insert(0, Finder(source))
