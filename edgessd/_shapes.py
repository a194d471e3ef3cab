"""Arrays with type and shape, as annotations: `Float32[Floats, "n 4"]`, one name for each axis of one length.

People read them, and the tests hold every call to them, by jaxtyping and beartype (tests/conftest.py). Elsewhere
nothing is imported or checked for them: they are `typing.Annotated`, as type checkers see them as well.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

if TYPE_CHECKING or "jaxtyping" not in sys.modules:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Float32
    from typing import Annotated as Float64
    from typing import Annotated as Int64
    from typing import Annotated as Shaped
    from typing import Annotated as UInt8
else:
    from jaxtyping import Bool, Float, Float32, Float64, Int64, Shaped, UInt8

__all__ = ["Bool", "Bools", "Bytes", "Float", "Float32", "Float64", "Floats", "Int64", "Ints", "Shaped", "UInt8"]
