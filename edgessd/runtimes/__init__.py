"""Engines that run a model file: one file each, behind the same small protocol."""

from edgessd.runtimes.base import RawOutputs, Runtime, load_runtime
from edgessd.runtimes.fake import FakeRuntime

__all__ = ["FakeRuntime", "RawOutputs", "Runtime", "load_runtime"]
