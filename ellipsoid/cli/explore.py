"""The command ``explore``."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import say


@dataclass(frozen=True)
class Explore:
    """Explore the latent space of a run on a page: sliders, draws, own pictures, paths."""

    source: Annotated[Positional[Path], arg(name="run")]
    """A run folder, or one with latents.npy from any framework; or the file of a shape (.npz), which is shown
    as points."""
    port: int = 0
    """Port of the page; any that is free by default."""
    host: str = "127.0.0.1"
    """Interface to listen on. The default is for this machine alone; 0.0.0.0 lets in whoever knows the whole
    address."""
    no_browser: bool = False
    """Address alone: no browser is opened. It is for machines that are reached through an SSH tunnel."""

    def run(self) -> None:
        """Serve the page until interrupted."""
        from ellipsoid.explore.opening import open_space
        from ellipsoid.explore.server import Listener, check_installed, open_in_browser

        check_installed()
        space = open_space(self.source)
        listener = Listener(space, self.host, self.port)
        space.warm_up()
        say(f"exploring {self.source} at {listener.address}")
        if self.no_browser:
            here = f"{listener.port}:127.0.0.1:{listener.port} {socket.gethostname()}"
            say(f"from another machine, the same address works after: ssh -N -L {here}")
        else:
            open_in_browser(listener.address)
        say("Ctrl-C ends it")
        listener.serve()
