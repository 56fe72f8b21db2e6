"""One ONNX file as a function of one array, run on the CPU by ONNX Runtime."""

import os
from pathlib import Path
from types import ModuleType

import numpy as np

from ellipsoid.blocks import map_batches, n_cores

# Highest number of rows in a call of a model with any batch size.
_BATCH = 64
# Types of pixels and latents, by ONNX Runtime's names.
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


class OnnxNetwork:
    """Network from one array to others, row by row.

    Parameters
    ----------
    content : bytes
        ONNX model with all its weights.
    name : str
        Name of the argument in messages.

    Attributes
    ----------
    content : bytes
        ONNX model with all its weights.
    dtype : numpy.dtype
        Type of the input.
    dims : tuple of int or None
        Sizes of the input after the batch; None for a size that the model leaves open.
    outputs : tuple of str
        Names of the outputs.
    gives_uint8 : bool
        Whether the first output is uint8.

    Raises
    ------
    ImportError
        If ONNX Runtime is not installed.
    ValueError
        If this is not an ONNX model with one input of numbers.
    """

    def __init__(self, content: bytes, name: str):
        runtime = _imported("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # its warnings concern its own optimiser
        options.intra_op_num_threads = n_cores()
        self.content, self._name = content, name
        try:
            self._session = runtime.InferenceSession(
                content, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its errors share no class of their own
            raise ValueError(
                f"{name}: expected an ONNX model that can be run; got {_reason(error)}"
            ) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            names = ", ".join(value.name for value in inputs) or "none"
            raise ValueError(f"{name}: expected a model with one input; got {len(inputs)}: {names}")
        (value,) = inputs
        if value.type not in _TYPES or len(value.shape) < 2:
            raise ValueError(
                f"{name}: expected an input of rows of floats or uint8; got {value.type} of shape "
                f"{value.shape}"
            )
        self._input, self.dtype = value.name, np.dtype(_TYPES[value.type])
        batch, *dims = (size if isinstance(size, int) and size > 0 else None for size in value.shape)
        self.dims, self._batch = tuple(dims), batch
        outputs = self._session.get_outputs()
        self.outputs = tuple(value.name for value in outputs)
        self.gives_uint8 = _TYPES.get(outputs[0].type) is np.uint8

    def __call__(self, rows: np.ndarray, output: str | None = None) -> np.ndarray:
        """Compute an output, by default the first one, for one or more rows.

        Raises
        ------
        ValueError
            If the model can't be run on such rows, or its output does not have one row for each.
        """
        size = self._batch or min(len(rows), _BATCH)
        batches = map_batches(lambda batch: self._run(batch, output or self.outputs[0]), rows, size)
        return np.concatenate(batches)[: len(rows)]

    def _run(self, batch: np.ndarray, output: str) -> np.ndarray:
        batch = np.ascontiguousarray(batch, self.dtype)
        try:
            (result,) = self._session.run([output], {self._input: batch})
        except Exception as error:
            raise ValueError(
                f"{self._name}: expected a model for inputs of shape {batch.shape}; got {_reason(error)}"
            ) from error
        if not isinstance(result, np.ndarray) or result.shape[:1] != batch.shape[:1]:
            got = f"shape {result.shape}" if isinstance(result, np.ndarray) else type(result).__name__
            raise ValueError(
                f"{self._name}: expected a row of output {output} for each of {len(batch)} rows; got {got}"
            )
        return result


def read_onnx(path: str | os.PathLike[str], name: str) -> bytes:
    """Read an ONNX file with all weights, also those in files beside it.

    Parameters
    ----------
    path : path
        ONNX file.
    name : str
        Name of the argument in messages.

    Returns
    -------
    bytes
        Model in one piece.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ImportError
        If the package ``onnx`` is not installed.
    ValueError
        If the file is not an ONNX model, a file of weights is missing, or all together exceed 2 GiB.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{name}: expected an ONNX file; got {path}, which is none")
    onnx = _imported("onnx")
    try:
        return onnx.load(path).SerializeToString()
    except Exception as error:  # protobuf, onnx or the system may raise it
        raise ValueError(
            f"{name}: expected an ONNX file of up to 2 GiB with its weights; got {path} ({_reason(error)})"
        ) from error


def _imported(module: str) -> ModuleType:
    try:
        if module == "onnx":
            import onnx

            return onnx
        import onnxruntime

        return onnxruntime
    except ImportError as error:
        raise ImportError(
            f"{module}: expected this package, which ONNX models need; got none; run "
            'pip install "ellipsoid[onnx]"'
        ) from error


def _reason(error: Exception) -> str:
    """Return the first line of an error; those of ONNX Runtime have many."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
