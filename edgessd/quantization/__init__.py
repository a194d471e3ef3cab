"""Quantisation: int8 networks from float ones, by calibration (PTQ) or with training (QAT).

Names are imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgessd.quantization.calibration import Calibration, calibration_pictures
    from edgessd.quantization.network import (
        QuantizedNetwork,
        calibrate,
        equalize,
        load_quantized,
        prepare_network,
        quantize,
        round_adaptively,
        save_quantized,
    )

__all__ = [
    "Calibration",
    "QuantizedNetwork",
    "calibrate",
    "calibration_pictures",
    "equalize",
    "load_quantized",
    "prepare_network",
    "quantize",
    "round_adaptively",
    "save_quantized",
]

_HOMES = {
    "Calibration": "calibration",
    "QuantizedNetwork": "network",
    "calibrate": "network",
    "calibration_pictures": "calibration",
    "equalize": "network",
    "load_quantized": "network",
    "prepare_network": "network",
    "quantize": "network",
    "round_adaptively": "network",
    "save_quantized": "network",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
