"""Standard output and standard error that never fail: a failed print does not stop any work."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class UnfailingStream:
    """A text stream that drops text that it cannot write, to a closed pipe, a full disk or a closed file.

    Parameters
    ----------
    stream : text file
        Stream that everything is handed on to.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._is_broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text, if that is still possible."""
        with self._dropping():
            if not self._is_broken:
                self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write the lines, if that is still possible."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, if that is still possible."""
        with self._dropping():
            if not self._is_broken:
                self._stream.flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError):  # a closed file raises ValueError
            self._is_broken = True
            # Text in the buffer is dropped too, since Python would fail to flush it at its end.
            with contextlib.suppress(OSError, ValueError):
                number, nowhere = self._stream.fileno(), os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)


@contextlib.contextmanager
def unfailing_output() -> Iterator[None]:
    """Let nothing that is printed in the block fail, whatever the encoding and whoever reads it.

    Characters that standard output has no code for become question marks.
    """
    before = sys.stdout, sys.stderr
    errors = getattr(sys.stdout, "errors", None)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    # A program without a terminal may have no streams at all.
    streams = [None if stream is None else UnfailingStream(stream) for stream in before]
    sys.stdout, sys.stderr = streams  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        for stream in streams:
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before
        if hasattr(sys.stdout, "reconfigure"):
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.reconfigure(errors=errors)  # pyright: ignore[reportAttributeAccessIssue]
