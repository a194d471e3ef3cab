"""Damaged and hostile metadata: whatever a file says, only our errors come out.

100,000 inputs and more in the slow test, 3,000 in the quick one; EDGESSD_FUZZ sets another number. A failing input
is named by its kind and seed, which make it again.
"""

import copy
import json
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgessd import zoo
from edgessd.errors import EdgeSSDError
from edgessd.model_file.foreign import foreign_spec
from edgessd.model_file.readers.facts import FileFacts
from edgessd.model_file.readers.onnx import parse_onnx
from edgessd.model_file.readers.openvino import parse_openvino
from edgessd.model_file.readers.safetensors import parse_header
from edgessd.model_file.readers.tflite import parse_tflite
from edgessd.spec import ModelSpec

DATA = Path(__file__).parent / "data"
QUICK, SLOW = 3_000, 100_000
WILD = [
    *(None, True, False, 0, -1, 1, 2, 255, 256, 65_536, 2**31 - 1, 2**31, 2**63, 10**30, -(10**30)),
    *(0.0, -0.0, 1e-45, 1e308, -1e308, float("nan"), float("inf"), "", "x", "\x00", "\ud800", "\u202e", "a" * 5000),
    *([], {}, [[]], [{}], [None], [0] * 3, ["a"] * 3, [[0.1, 0.1]], [[1e-30, 1e30]], {"": None}, {"type": "x"}),
]


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled, or the end cut off."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not result:
            break
        place = rng.randrange(len(result))
        match rng.randrange(7):
            case 0:
                result[place] = rng.randrange(256)
            case 1:
                result[place] ^= 1 << rng.randrange(8)
            case 2:
                del result[place : place + rng.randrange(1, 40)]
            case 3:
                result[place:place] = result[place : place + rng.randrange(1, 40)]
            case 4:
                number = rng.choice((0, 1, -1, 127, 2**31 - 1, -(2**31), rng.randrange(-(2**31), 2**31)))
                result[place : place + 4] = struct.pack("<i", number)
            case 5:
                del result[place:]
            case 6:
                result[place : place + 8] = rng.randbytes(8)
    return bytes(result)


def mutated_json(text: str, rng: random.Random) -> str:
    """A value somewhere replaced, removed, renamed or nested deep."""
    document = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        holder, key = document, None
        for _ in range(rng.randrange(1, 7)):
            inside = holder if key is None else holder[key]
            if isinstance(inside, dict) and inside:
                holder, key = inside, rng.choice(list(inside))
            elif isinstance(inside, list) and inside:
                holder, key = inside, rng.randrange(len(inside))
            else:
                break
        if key is None:
            continue
        match rng.randrange(6):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(rng.choice(WILD))
            case 3:
                del holder[key]
            case 4 if isinstance(holder, dict):
                holder[rng.choice(("x", "schema", "type", key * 2))] = holder.pop(key)
            case _:
                value = holder[key]
                if isinstance(value, int | float) and not isinstance(value, bool):
                    holder[key] = value * rng.choice((-1, 0, 2, 1e6, 1e-6))
                elif isinstance(value, list):
                    holder[key] = value * rng.choice((0, 2, 50))
    result = json.dumps(document)
    return result if rng.random() < 0.95 else result.replace("[", "[" * rng.choice((2, 3000)), 1)


def spec_of(facts: FileFacts) -> None:
    if facts.spec_text is not None:
        facts.spec("fuzzed")


def read_tflite_and_stranger(data: bytes) -> None:
    facts = parse_tflite(data)
    if facts.spec_text is not None:
        spec_of(facts)
    else:
        foreign_spec(Path("fuzzed.tflite"), facts, ["a", "b"])


def openvino_graph(spec: str) -> bytes:
    return (
        '<?xml version="1.0"?><net name="m" version="11"><layers>'
        '<layer id="0" name="image" type="Parameter"><data shape="1,3,8,8" element_type="f32"/>'
        '<output><port id="0" precision="FP32" names="image"><dim>1</dim><dim>3</dim><dim>8</dim><dim>8</dim></port>'
        '</output></layer><layer id="1" name="r" type="Result"><input><port id="0" precision="FP32"><dim>1</dim>'
        f"</port></input></layer></layers><edges/><rt_info><edgessd><spec value='{spec}'/></edgessd>"
        '<model_info><labels value="a b"/></model_info></rt_info></net>'
    ).encode()


def header(spec: str) -> bytes:
    tensor = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    return json.dumps({"__metadata__": {"edgessd.spec": spec}, "weight": tensor}).encode()


def cases(make_onnx: Any) -> dict[str, tuple[Callable[[random.Random], object], Callable[[object], object]]]:
    """Kind: what makes an input, and what reads it."""
    tiny, nms = ((DATA / f"{name}.tflite").read_bytes() for name in ("tiny", "tiny_nms"))
    # The first and the last part of a real file: the graph, and its metadata.
    real = zoo.resolve_model().read_bytes()
    spec = make_onnx.level_spec("raw").to_json()
    onnx, openvino, checkpoint = make_onnx.onnx_graph().SerializeToString(), openvino_graph(spec), header(spec)
    return {
        "spec": (lambda rng: mutated_json(spec, rng), ModelSpec.from_json),
        "spec text": (
            lambda rng: mutated_bytes(spec.encode(), rng).decode("utf-8", "surrogateescape"),
            ModelSpec.from_json,
        ),
        "tflite": (lambda rng: mutated_bytes(tiny, rng), read_tflite_and_stranger),
        "tflite of others": (lambda rng: mutated_bytes(nms, rng), read_tflite_and_stranger),
        "onnx": (lambda rng: mutated_bytes(onnx, rng), lambda data: spec_of(parse_onnx(data))),
        "onnx, truncated": (lambda rng: real[: rng.randrange(4000)], lambda data: spec_of(parse_onnx(data))),
        "openvino": (lambda rng: mutated_bytes(openvino, rng), lambda data: spec_of(parse_openvino(data))),
        "safetensors": (lambda rng: mutated_bytes(checkpoint, rng), lambda data: spec_of(parse_header(data, 16))),
    }


def run(make_onnx: Any, total: int) -> dict[str, int]:
    """Return how many inputs of each kind were refused."""
    refused = {}
    table = cases(make_onnx)
    for kind, (make, read) in table.items():
        refused[kind] = 0
        for seed in range(-(-total // len(table))):
            try:
                read(make(random.Random(f"{kind} {seed}")))
            except EdgeSSDError as error:
                refused[kind] += 1
                assert "\n" not in str(error) and len(str(error)) < 2000, (kind, seed)
            except Exception as error:
                raise AssertionError(f"{kind!r}, seed {seed}: {type(error).__name__}: {error}") from error
    return refused


@pytest.mark.parametrize("total", [QUICK, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_only_our_errors_come_out(make_onnx, total):
    refused = run(make_onnx, int(os.environ.get("EDGESSD_FUZZ", total)))
    assert all(count > 50 for count in refused.values()), refused
    print(refused)
