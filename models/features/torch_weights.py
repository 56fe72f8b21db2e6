"""Arrays of a file of weights that PyTorch wrote before its version 1.6, read without PyTorch.

Such a file is a row of pickles and, after them, the bytes of every tensor. A pickle is a program: to load it
is to run the functions that it names. The reader here knows four names, and maps each to something harmless.
It stops at any other name, before anything is called.
"""

import io
import math
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

_MAGIC_NUMBER, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


def read_weights(content: bytes) -> dict[str, np.ndarray]:
    """Read the arrays of a state dictionary by their names; nothing that the file names is ever run.

    Parameters
    ----------
    content : bytes
        The whole file.

    Returns
    -------
    dict of str to ndarray
        Arrays of float32 or int64 numbers, in the order of the file.

    Raises
    ------
    ValueError
        If the file is none of PyTorch's old form, is damaged, or holds anything but arrays.
    """
    file = io.BytesIO(content)
    try:
        start = [_Unpickler(file).load() for _ in range(3)]
        if start[:2] != [_MAGIC_NUMBER, _VERSION] or start[2]["little_endian"] is not True:
            raise ValueError(f"its head is {start}")
        tensors, keys = _Unpickler(file).load(), _Unpickler(file).load()
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        if sorted(keys) != sorted(storages):
            raise ValueError("its list of storages is another than that of its tensors")
        values = {key: _read_values(file, storages[key]) for key in keys}
        if file.read(1):
            raise ValueError("there is more after its last storage")
        return {name: _view(tensor, values[tensor.storage.key]) for name, tensor in tensors.items()}
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(
            f"content: expected arrays alone, as PyTorch wrote them; got a file: {error}"
        ) from error


class _Storage(NamedTuple):
    dtype: str
    key: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Unpickler of dictionaries of tensors."""

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            # Further arguments say whether it has a gradient, and name its hooks.
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise ValueError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any, /) -> _Storage:
        kind, dtype, key, _, size, view = pid
        if kind != "storage" or dtype not in _TYPES.values() or view is not None:
            raise ValueError(f"it refers to {kind} {key}")
        return _Storage(dtype, key, size)


def _read_values(file: io.BytesIO, storage: _Storage) -> np.ndarray:
    """Read the values of a storage: their number, and then themselves."""
    if int.from_bytes(file.read(8), "little") != storage.size:
        raise ValueError(f"storage {storage.key} has another size than {storage.size}")
    dtype = np.dtype(storage.dtype)
    return np.frombuffer(file.read(storage.size * dtype.itemsize), dtype, storage.size)


def _view(tensor: _Tensor, values: np.ndarray) -> np.ndarray:
    """Copy a tensor out of its storage, inside whose bounds it must lie."""
    _, offset, shape, strides = tensor
    if len(shape) != len(strides) or min((offset, *shape, *strides)) < 0 or math.prod(shape) > len(values):
        raise ValueError(f"a tensor has shape {shape} and strides {strides}")
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= len(values):
        raise ValueError(f"a tensor of shape {shape} ends behind its storage")
    bytes_apart = [stride * values.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(values[offset:], shape, bytes_apart).copy()
