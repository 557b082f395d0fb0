"""The facts that the checks judge.  Data only; a fact that could not be learned is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from taskd.cli.former import Former


@dataclass(frozen=True, slots=True)
class Who:
    """The user that the daemon runs as; ``uid`` is None when there is no such user."""

    name: str
    uid: int | None = 0
    gids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A file or directory.  ``mode`` is None when it does not exist, else its st_mode."""

    path: str
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    modified_at: float = 0.0
    has_content: bool = False

    def allows(self, who: Who, bits: int) -> bool:
        """Return whether the permissions give ``who`` all of ``bits`` (4 read, 2 write, 1 enter)."""
        if self.mode is None or who.uid is None:
            return False
        if who.uid == 0:
            return True
        shift = 6 if who.uid == self.uid else 3 if self.gid in who.gids else 0
        return (self.mode >> shift) & bits == bits


@dataclass(frozen=True, slots=True)
class ConfigFacts:
    """The configuration file, and what it says of the machine."""

    file: FilePlace
    errors: Sequence[str] = ()
    warnings: Sequence[str] = ()
    #: Keys whose values in the file are passwords.
    secrets: Sequence[str] = ()
    #: Names in the lists of [control] that this machine does not know.
    unknown_names: Sequence[str] = ()
    gives_roles: bool = False
    #: Working directories of workers, by their key.
    directories: Mapping[str, FilePlace] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """The running daemon; ``error`` says why it could not be asked."""

    socket: FilePlace
    socket_directory: FilePlace
    error: str = ""
    is_down: bool = False
    version: str = ""
    own_version: str = ""
    max_open_files: int | None = None
    #: Name, state and reason of the programs that are wanted and not ready.
    unwell: Sequence[tuple[str, str, str]] = ()
    #: Troubles of the daemon and of programs that work: whose, and the text with its remedy.
    troubles: Sequence[tuple[str, str]] = ()
    former: Sequence[Former] = ()


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """Where messages or results are kept; ``key`` is that of the configuration.

    ``file`` and the next ones are of an embedded store, ``address`` and ``connect_error`` of a server,
    ``unacked`` of a broker that Celery workers share.  ``unserved`` has the texts about queues in which
    something waits that no worker takes.
    """

    key: str
    file: FilePlace | None = None
    directory: FilePlace | None = None
    filesystem: str = ""
    #: The size of a log that is not one, beside a database.
    garbage_bytes: int = 0
    free_bytes: int = 0
    total_bytes: int = 0
    free_inodes: int = 0
    total_inodes: int = 0
    address: str = ""
    connect_error: str = ""
    unacked: int = 0
    unserved: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """The wall clock; ``newest_at`` is when the newest of our files was changed."""

    now: float
    synchronized: bool | None = None
    newest_at: float = 0.0


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """The features of the kernel that the supervisor needs."""

    release: str
    has_pidfd: bool = True
    has_subreaper: bool = True
    has_memfd: bool = True
    in_user_namespace: bool = False


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """The systemd unit: properties as ``systemctl show`` prints them."""

    name: str
    systemd_version: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    verify_output: str = ""
    exposure: float | None = None
    #: Why its user cannot execute what it starts.
    unreachable: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Everything that was learned."""

    who: Who
    config: ConfigFacts
    daemon: DaemonFacts
    stores: Sequence[StoreFacts]
    clock: ClockFacts
    kernel: KernelFacts
    unit: UnitFacts
