"""Arrays in files that are named on the command line."""

import zipfile
from pathlib import Path

import numpy as np


def read_array(name: str, path: Path) -> np.ndarray:
    """Read the array of a .npy file.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    path : Path

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is another or a damaged one, or holds pickled objects.
    """
    content = read_arrays(name, path)
    if isinstance(content, dict):
        raise ValueError(f"{name}: expected a .npy array; got {path}, with arrays {', '.join(content)}")
    return content


def read_arrays(name: str, path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Read the array of a .npy file, or the arrays of a .npz file by their names.

    Parameters and errors are those of :func:`read_array`.
    """
    if not path.exists():
        raise FileNotFoundError(f"{name}: expected a file of an array; got {path}, no such file")
    try:
        content = np.load(path, allow_pickle=False)
        return content if isinstance(content, np.ndarray) else dict(content)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{name}: expected a .npy array; got {path}, which is not readable ({error})"
        ) from None
