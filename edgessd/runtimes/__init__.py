"""Engines that run a model file: one file each, behind the same small protocol."""

from edgessd.ops.outputs import DecodedOutputs, FinalOutputs, Outputs, RawOutputs
from edgessd.runtimes.base import Runtime
from edgessd.runtimes.fake import FakeRuntime
from edgessd.runtimes.load import load_runtime

__all__ = ["DecodedOutputs", "FakeRuntime", "FinalOutputs", "Outputs", "RawOutputs", "Runtime", "load_runtime"]
