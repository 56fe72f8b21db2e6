"""The server of the page: one space at one address with a token."""

import asyncio
import contextlib
import logging
import secrets
import socket
import threading
import webbrowser

from ellipsoid.explore.space import Space

_LOCAL = {"127.0.0.1", "localhost", "::1"}


def check_installed() -> None:
    """Raise ``ImportError`` with the install command if the libraries of the server are missing."""
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"explore: expected starlette and uvicorn; got '{error}': install them with "
            'pip install "ellipsoid[explore]"'
        ) from error


class Listener:
    """Server of a space, which listens from its creation on.

    Parameters
    ----------
    space : Space
        Space to show.
    host : str
        Host name or address of the interface to listen on.
    port : int
        Port number, or 0 for any free port.
    framed : bool
        Whether notebooks may show the page in a frame.

    Attributes
    ----------
    port : int
        Port number.
    address : str
        Whole address with the token.

    Raises
    ------
    ImportError
        If starlette or uvicorn is not installed.
    OSError
        If the port is not free, or the host does not belong to this machine.
    """

    def __init__(self, space: Space, host: str = "127.0.0.1", port: int = 0, *, framed: bool = False):
        check_installed()
        import uvicorn

        from ellipsoid.explore.api import make_app

        token = secrets.token_urlsafe(24)
        is_anywhere = host in ("", "0.0.0.0", "::")
        hosts = None if is_anywhere else _LOCAL | {host.lower()}
        self._socket = _bound(host, port)
        config = uvicorn.Config(
            make_app(space, token, hosts=hosts, framed=framed),
            access_log=False,
            log_level="warning",
            lifespan="off",
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        logging.getLogger("uvicorn.error").addFilter(_is_worth_a_word)
        shown = socket.gethostname() if is_anywhere else host
        shown = f"[{shown}]" if ":" in shown else shown
        self.port: int = self._socket.getsockname()[1]
        self.address = f"http://{shown}:{self.port}/?token={token}"

    def serve(self) -> None:
        """Answer requests until interrupted."""
        with contextlib.closing(self._socket):
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Make `serve` return."""
        self._server.should_exit = True


def _is_worth_a_word(record: logging.LogRecord) -> bool:
    """Whether a log message is worth showing: requests that the shutdown cancels are not."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError)


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise OSError(f"port: expected a free port on {host}; got {port} ({error})") from None


def open_in_browser(address: str) -> None:
    """Open an address in the default browser, without waiting for it."""
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
