"""NumPy arrays: one ``.npy`` file for each column."""

from ellipsoid.generation.sinks.local import LocalSink


class NpySink(LocalSink):
    """``.npy`` files, one for each column; open them by ``np.load(path, mmap_mode="r")``.

    The first column has the given name, and others add their own: ``x.npy``, ``x.latents.npy``.

    Parameters
    ----------
    path : path
        Name of the complete result.
    """

    format = "npy"
    _is_folder = False

    def _array_files(self) -> dict[str, str]:
        main, *others = self.plan.columns
        return {main: self.path.name} | {name: f"{self.path.stem}.{name}.npy" for name in others}
