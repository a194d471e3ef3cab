"""OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgessd._openvino import import_openvino
from edgessd.errors import ModelError, OptionError, printable
from edgessd.model_file.contract import check_batch, check_input, check_names, check_outputs, to_outputs
from edgessd.model_file.kinds import file_kind
from edgessd.model_file.readers.onnx import read_onnx
from edgessd.model_file.readers.openvino import read_openvino, weights_path
from edgessd.ops.outputs import Outputs
from edgessd.runtimes._saturation import needs_exact
from edgessd.runtimes.base import LoadOptions, Runtime
from edgessd.runtimes.threads import default_threads
from edgessd.spec import ModelSpec


class OpenVinoRuntime(Runtime):
    """An OpenVINO file (.xml with its .bin beside it), or an ONNX file, of any precision and level.

    threads: of the processor; None is `default_threads`. providers: devices such as `cpu`, `gpu` or `npu`;
    None is the processor; of several, OpenVINO takes the best that works. spec: for a file that carries none.

    Float networks are computed in float32. (By default OpenVINO takes bfloat16 on processors that have it,
    which changes the answers.)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        spec: ModelSpec | None = None,
        threads: int | None = None,
        providers: str | Sequence[str] | None = None,
    ) -> None:
        path = Path(path)
        if file_kind(path) == "openvino":
            facts = read_openvino(path)
            weights_path(path)
        else:
            facts = read_onnx(path)
        self.spec = spec or facts.spec(path)
        core = import_openvino().Core()
        device = choose_device(providers, core.available_devices)
        options: dict[str, Any] = {}
        if device == "CPU" or self.spec.precision != "fp16":
            options["INFERENCE_PRECISION_HINT"] = "f32"
        if device == "CPU" and needs_exact(self.spec, given=spec is not None):
            options["LP_TRANSFORMS_MODE"] = "NO"  # computes what the integers stand for, in float32
        if device == "CPU" and (threads := threads or default_threads()) is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._model = core.compile_model(str(path), device, options)
        except Exception as error:  # RuntimeError mostly; its own types are plain Exceptions
            raise ModelError(f"{printable(path)} cannot be loaded by OpenVINO: {_last_line(error)}") from None
        self.name = f"openvino ({device.lower()})"
        self._check(path)

    def _check(self, path: Path) -> None:
        inputs = self._model.inputs
        types = [str(np.dtype(each.get_element_type().to_dtype())) for each in inputs]
        check_input(self.spec, [_shape(each) for each in inputs], types, path)
        places = {name: place for place, output in enumerate(self._model.outputs) for name in output.get_names()}
        check_names(self.spec, list(places), path)
        self._outputs = [places[name] for name in self.spec.output.names]
        check_outputs(self.spec, [_shape(self._model.outputs[place]) for place in self._outputs], path)
        self.fixed_batch = _shape(inputs[0])[0]

    def infer(self, batch: NDArray[Any]) -> Outputs:
        """Run a batch [B, *spec.input.tensor_shape]."""
        check_batch(self.fixed_batch, len(batch))
        answer = self._model([np.ascontiguousarray(batch)])
        return to_outputs(self.spec, [np.asarray(answer[place]) for place in self._outputs])

    def free(self) -> None:
        """Free the compiled network."""
        del self._model

    def reason(self, error: Exception) -> str:
        """What OpenVINO says, without the names of its source files."""
        return _last_line(error)


def load(path: Path, options: LoadOptions) -> OpenVinoRuntime:
    """Load an OpenVINO or ONNX file for `load_runtime`."""
    return OpenVinoRuntime(path, spec=options.spec, threads=options.threads, providers=options.providers)


def choose_device(wanted: str | Sequence[str] | None, available: Sequence[str]) -> str:
    """Return OpenVINO's name of the wanted device; `AUTO:GPU,CPU` and the like for several."""
    names = [wanted] if isinstance(wanted, str) else list(wanted or ("cpu",))
    kinds = {name.split(".")[0] for name in available}
    for name in names:
        if name.upper() not in {*available, *kinds}:
            raise OptionError(
                f"OpenVINO has no device {printable(name)!r} here, only {', '.join(map(str.lower, available))}"
            )
    upper = [name.upper() for name in names]
    return upper[0] if len(upper) == 1 else f"AUTO:{','.join(upper)}"


def _shape(port: Any) -> list[int | None]:
    return [size.get_length() if size.is_static else None for size in port.get_partial_shape()]


def _last_line(error: Exception) -> str:
    """Return the reason, which stands below a pile of source files' names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if not line.startswith(("Exception from", "FrontEnd API"))]
    return printable(" ".join(reasons or lines))
