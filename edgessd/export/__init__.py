"""Exporters: one file per format."""

from edgessd.export.formats import FORMATS, export_model
from edgessd.export.onnx import export_onnx

__all__ = ["FORMATS", "export_model", "export_onnx"]
