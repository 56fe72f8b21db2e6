"""The command ``explore``."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import print_summary, say


@dataclass(frozen=True)
class Explore:
    """Explore the latent space of a run on a web page: sliders, draws, own pictures, paths."""

    source: Annotated[Positional[Path], arg(name="run")]
    """Run folder, any folder with a file latents.npy, or a fitted shape (.npz), whose latents appear as
    points."""
    port: int = 0
    """Port of the page. By default any free port."""
    host: str = "127.0.0.1"
    """Network interface to listen on. The default serves this machine alone; 0.0.0.0 lets in everybody who
    knows the full address with its token."""
    no_browser: bool = False
    """Printed address only: no browser opens. This suits machines that are reached through an SSH tunnel."""

    def run(self) -> None:
        """Serve the page until interrupted."""
        from ellipsoid.explore.opening import open_space
        from ellipsoid.explore.server import Listener, check_installed, open_in_browser

        check_installed()
        space = open_space(self.source)
        listener = Listener(space, self.host, self.port)
        space.warm_up()
        say(f"exploring {self.source} at {listener.address}", address=listener.address)
        if self.no_browser:
            here = f"{listener.port}:127.0.0.1:{listener.port} {socket.gethostname()}"
            say(f"from another machine, the same address works after: ssh -N -L {here}")
        else:
            open_in_browser(listener.address)
        say("Ctrl-C stops the server")
        print_summary("explore")  # before the server, which ends by an interruption
        listener.serve()
