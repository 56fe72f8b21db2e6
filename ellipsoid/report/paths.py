"""Paths inside a run folder that a report reads or writes."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """Files of one run folder, present or not.

    Attributes
    ----------
    folder : Path
        The run folder.
    """

    folder: Path

    @property
    def latents(self) -> Path:
        """Latents of the training images."""
        return self.folder / "latents.npy"

    @property
    def state(self) -> Path:
        """State that was fitted to them."""
        return self.folder / "state.npz"

    @property
    def checkpoints(self) -> Path:
        """Folder of the autoencoder's weights."""
        return self.folder / "checkpoints"

    @property
    def figures(self) -> Path:
        """Folder of the report's figures."""
        return self.folder / "figures"

    @property
    def diagnostics(self) -> Path:
        """Numbers of the report."""
        return self.folder / "diagnostics.json"

    @property
    def report(self) -> Path:
        """Page of the report."""
        return self.folder / "report.html"

    @property
    def evaluation(self) -> Path:
        """Folder of an evaluation's tables and figures."""
        return self.folder / "evaluation"
