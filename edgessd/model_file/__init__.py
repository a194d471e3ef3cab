"""Model files, read, checked and described without an engine: what they say about themselves, and whether it fits."""

from edgessd.model_file.kinds import installed_runtimes_for, runtimes_for
from edgessd.model_file.read import describe, read_facts, read_outputs, read_spec, read_spec_json
from edgessd.model_file.readers.facts import FileFacts, TensorFact

__all__ = [
    "FileFacts",
    "TensorFact",
    "describe",
    "installed_runtimes_for",
    "read_facts",
    "read_outputs",
    "read_spec",
    "read_spec_json",
    "runtimes_for",
]
