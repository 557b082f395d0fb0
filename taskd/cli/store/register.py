"""The register of deaths as ``taskctl store`` sees it: a small file that is always written as a whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from taskd.base.errors import StorageError
from taskd.base.formats import FormatMark, Formats
from taskd.storage.upkeep import Extent
from taskd.supervisor.deaths import register


class RegisterUpkeep:
    """``Upkeep`` of the register in a state directory."""

    def __init__(self, state_directory: str) -> None:
        self.place = os.path.abspath(register.path_in(state_directory))

    @property
    def formats(self) -> Formats[object]:
        """The formats that this taskd knows."""
        return register.FORMATS

    def mark(self) -> FormatMark | None:
        """Return the format that is there; None when nothing has died yet."""
        try:
            return register.mark(self.place)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.place}: {error.strerror}") from error
        except register.Unreadable as error:
            raise StorageError(str(error)) from error

    def extent(self) -> Extent | None:
        """Return the size of the file, all of which is live."""
        try:
            size_bytes = os.path.getsize(self.place)
        except OSError:
            return None
        return Extent(size_bytes, size_bytes)

    def bring_up(self) -> None:
        """Do nothing: the daemon writes the whole file anew."""

    def problems(self) -> Sequence[str]:
        """Return nothing, or raise what keeps the file from being read."""
        if self.mark() is not None:
            try:
                register.read(self.place)
            except register.Unreadable as error:
                raise StorageError(str(error)) from error
        return ()

    def stalls(self) -> str:
        """Return nothing: nobody waits."""
        return ""

    def compact(self, pause: Callable[[float], object]) -> bool:
        """Return False: there is nothing dead in it."""
        return False
