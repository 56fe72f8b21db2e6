"""Arrays in files that are named on the command line."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ellipsoid.archive import check_declared_sizes, reading_error

# Suffixes of files of other programs, and the line of Python that turns them into a .npy file.
_CONVERSIONS = {
    ".pt": "torch.load({path!r}, map_location='cpu').detach().float().numpy()",
    ".pth": "torch.load({path!r}, map_location='cpu').detach().float().numpy()",
    ".h5": "h5py.File({path!r})['NAME'][:]",
    ".hdf5": "h5py.File({path!r})['NAME'][:]",
    ".safetensors": "safetensors.numpy.load_file({path!r})['NAME']",
    ".mat": "scipy.io.loadmat({path!r})['NAME']",
    ".pkl": "pickle.load(open({path!r}, 'rb'))",
}
_CONVERSIONS[".pickle"] = _CONVERSIONS[".pkl"]


def check_data(name: str, path: Path) -> None:
    """Check that a source of data exists and is no run folder.

    Raises
    ------
    FileNotFoundError
        If it does not exist.
    ValueError
        If it is a run folder.
    """
    from ellipsoid.runs import RunFolder

    if not path.exists():
        raise FileNotFoundError(
            f"{name}: expected a file or folder of data; got {path}, which does not exist"
        )
    if RunFolder(path).config.exists():
        raise ValueError(
            f"{name}: expected a file or folder of data; got {path}, a run folder: give its images, "
            f"or its {RunFolder(path).latents.name}"
        )


def read_array(name: str, path: Path, array: str | None = None) -> np.ndarray:
    """Read an array from a .npy, .npz, .csv or .parquet file. Nothing is ever unpickled.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    path : Path
    array : str, optional
        Name of the array in a .npz file, or of the column of lists in a .parquet file. It can be left out if
        there is only one. If a .parquet file has no lists, its columns together are the rows.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file has another format, is damaged or holds pickled objects; if it has several arrays, and
        none is named; or if it has no array of that name.
    ImportError
        For .parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if path.exists() and suffix in (".csv", ".parquet"):
        columns = _read_csv(name, path) if suffix == ".csv" else _read_parquet(name, path)
        return _chosen(name, path, columns, array)
    content = read_arrays(name, path)
    return _chosen(name, path, content if isinstance(content, dict) else {"": content}, array)


def read_arrays(name: str, path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Read the array of a .npy file, or the arrays of a .npz file by their names.

    Parameters and errors are those of :func:`read_array`.
    """
    if not path.exists():
        raise FileNotFoundError(f"{name}: expected a file of an array; got {path}, no such file")
    suffix = path.suffix.lower()
    if suffix in _CONVERSIONS:
        line = f"np.save({str(path.with_suffix('.npy'))!r}, {_CONVERSIONS[suffix].format(path=str(path))})"
        raise ValueError(
            f"{name}: expected a .npy array; got {path}; this line of Python converts it: {line}"
        )
    try:
        with path.open("rb") as file:
            check_declared_sizes(file)
            content = np.load(file, allow_pickle=False)
            return content if isinstance(content, np.ndarray) else dict(content)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{name}: expected a .npy array; got {path}, which cannot be read ({reading_error(error)})"
        ) from None


def _chosen(name: str, path: Path, arrays: dict[str, np.ndarray], array: str | None) -> np.ndarray:
    """Give the array of this name, or the only one."""
    if array is None and len(arrays) == 1:
        return next(iter(arrays.values()))
    if array in arrays:
        return arrays[array]
    names = ", ".join(filter(None, arrays)) or "(one array without a name)"
    if array is None:
        raise ValueError(
            f"{name}: expected one array; got {path}, with the arrays {names}; choose one with --array"
        )
    raise ValueError(f"array: expected the name of an array in {path}: {names}; got {array}")


def _read_csv(name: str, path: Path) -> dict[str, np.ndarray]:
    """Read numbers between commas; the first line may hold names."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = [word.strip().strip('"') for word in file.readline().split(",")]
            file.seek(0)
            if first[0] == "":
                raise ValueError(
                    "its first column has no name, like an index of pandas: write it with index=False"
                )
            rows = np.loadtxt(file, delimiter=",", ndmin=2, skiprows=int(_is_header(first)))
    except (ValueError, OSError) as error:
        raise _unreadable(name, path, error) from None
    return {"": rows}


def _is_header(words: list[str]) -> bool:
    if len(words) > 1 and words == [str(index) for index in range(len(words))]:
        return True  # these are the names that pandas gives to unnamed columns
    try:
        [float(word) for word in words]
    except ValueError:
        return True
    return False


def _read_parquet(name: str, path: Path) -> dict[str, np.ndarray]:
    """Read columns of lists by name, or all columns side by side. The path may be a folder of such files."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError(f"{name}: reading {path} needs pyarrow: pip install pyarrow") from None
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    try:
        table = pa.concat_tables([pq.ParquetFile(file).read() for file in files])
        lists, numbers, others = {}, [], []
        for column in table.column_names:
            values = table[column].combine_chunks()
            if pa.types.is_fixed_size_list(values.type) and not values.null_count:
                lists[column] = values.flatten().to_numpy().reshape(-1, values.type.list_size)
            elif pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
                lists[column] = np.stack(values.to_numpy(zero_copy_only=False))
            elif pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
                # An index of pandas is not a latent dimension.
                if not column.startswith("__index_level_"):
                    numbers.append(values.to_numpy(zero_copy_only=False).astype(np.float64))
            else:
                others.append(f"{column} ({values.type})")
        if others and not lists:
            raise ValueError(f"these columns hold no numbers: {', '.join(others)}")
        return lists or {"": np.stack(numbers, axis=1)}
    except (ValueError, TypeError, OSError) as error:  # pyarrow's errors are of these kinds
        raise _unreadable(name, path, error) from None


def _unreadable(name: str, path: Path, error: Exception) -> ValueError:
    return ValueError(f"{name}: expected rows of numbers; got {path}, which cannot be read ({error})")
