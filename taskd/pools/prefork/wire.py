"""The language of pool, template and children, and its frames.

- Data, pool to child: frames of ``list[Job]``; child to pool: frames of reports, see ``slot``.
  A frame is its length (8 bytes, big endian) and a msgpack value.
- Control, pool and template: one message per SOCK_SEQPACKET packet, descriptors beside it.

Both ends always come from the same installation: nothing here is versioned.
"""

from __future__ import annotations

import array
import os
import socket
import struct
from collections.abc import Sequence

import msgspec

from taskd.base.errors import PoolError
from taskd.pools.base import Broken, Done, Job

#: Environment of a template: its end of the control socket, whose child it is, what ps(1) shows.
CONTROL_FD_VARIABLE = "TASKD_POOL_FD"
PARENT_VARIABLE = "TASKD_POOL_PARENT"
TITLE_VARIABLE = "TASKD_POOL_TITLE"
#: How the template is to come by the task code, see ``template``.
PRELOAD_VARIABLE = "TASKD_POOL_PRELOAD"
#: Load it; keep what was loaded, unless threads were started; never keep it; keep it or end.
AUTO = "auto"
NEVER = "false"
ALWAYS = "true"
#: Do not load it: the children do, each for itself.  Only the pool asks for this.
BARE = "bare"

_LENGTH = struct.Struct(">Q")
#: No frame is longer, whatever it says.
MAX_FRAME_BYTES = 512 * 1024 * 1024
_RECEIVE_BYTES = 64 * 1024
_MAX_FDS = 4


class SkippedJob(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=2):
    """The child did not begin the job because the pool had asked for it back."""

    tag: int


Report = Done | Broken | SkippedJob


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Pool to template: fork child ``number``; beside it the data socket and the slot's memfd."""

    number: int


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The target is there; beside it a memfd with the hello blob."""


class Unfit(msgspec.Struct, frozen=True, tag="unfit"):
    """The target loads, but no child is to be forked from it: the template exits.

    Another template is to be started bare; beside the message a memfd with the hello blob.
    """

    reason: str


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The template cannot serve and exits; beside it a memfd with the details, such as a traceback."""

    reason: str


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """The child runs; beside it its pidfd, opened before the pid could be reused."""

    number: int
    pid: int


class ForkFailed(msgspec.Struct, frozen=True, tag="fork_failed"):
    """The kernel refused: too many processes, or no memory."""

    number: int
    reason: str


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """A child was reaped.  ``exit_code`` is -1 for a signal, ``signal`` 0 for an exit."""

    number: int
    pid: int
    exit_code: int
    signal: int
    max_rss_bytes: int


ControlMessage = Fork | Loaded | Unfit | Failed | Forked | ForkFailed | Exited

_encoder = msgspec.msgpack.Encoder()
_control_decoder = msgspec.msgpack.Decoder(ControlMessage)

encode_report = _encoder.encode
decode_jobs = msgspec.msgpack.Decoder(list[Job]).decode
decode_reports = msgspec.msgpack.Decoder(list[Report]).decode


def encode_jobs(jobs: Sequence[Job]) -> bytearray:
    """Return the frame that hands ``jobs`` to a child."""
    frame = bytearray(_LENGTH.size)
    _encoder.encode_into(jobs, frame, _LENGTH.size)
    _LENGTH.pack_into(frame, 0, len(frame) - _LENGTH.size)
    return frame


class FrameReader:
    """Cuts a stream into frames.  The buffer grows with what arrives, not by what a frame says of itself."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(_RECEIVE_BYTES)
        self._start = 0
        self._end = 0
        #: A frame says that it is longer than any may be: where the next begins can not be known.
        self.lost = False

    def receive(self) -> list[memoryview] | None:
        """Receive once and return the frames that are complete now; None at the end of the stream.

        The frames are views that the next call overwrites.
        Raises: ``BlockingIOError`` when the socket does not block and has nothing.
        """
        self._make_room()
        count = self._sock.recv_into(memoryview(self._buffer)[self._end :])
        if count == 0:
            return None
        self._end += count
        frames = []
        view = memoryview(self._buffer)
        start = self._start
        end = self._end
        while end - start >= _LENGTH.size:
            length = _LENGTH.unpack_from(view, start)[0]
            stop = start + _LENGTH.size + length
            self.lost = length > MAX_FRAME_BYTES
            if self.lost or stop > end:
                break
            frames.append(view[start + _LENGTH.size : stop])
            start = stop
        self._start = start
        return frames

    def _make_room(self) -> None:
        """Move the incomplete frame to the front of a buffer with room for more of it."""
        rest = self._end - self._start
        whole = _RECEIVE_BYTES
        size = len(self._buffer)
        if rest >= _LENGTH.size:
            whole = max(whole, _LENGTH.size + _LENGTH.unpack_from(self._buffer, self._start)[0])
        if whole == _RECEIVE_BYTES:
            size = whole
        elif size - rest < _RECEIVE_BYTES:
            size = min(whole, 2 * size)
        if size != len(self._buffer):
            former, self._buffer = self._buffer, bytearray(size)
            self._buffer[:rest] = memoryview(former)[self._start : self._end]
        elif self._start:
            self._buffer[:rest] = self._buffer[self._start : self._end]
        self._start = 0
        self._end = rest


def send_control(sock: socket.socket, message: ControlMessage, fds: Sequence[int] = ()) -> None:
    """Send one message with copies of ``fds``.

    Raises: ``OSError``; ``BlockingIOError`` when the socket does not block and is full.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([_encoder.encode(message)], rights)


def receive_control(sock: socket.socket) -> tuple[ControlMessage, list[int]] | None:
    """Receive one message and its descriptors (close-on-exec); None when the peer is gone.

    Raises: ``BlockingIOError`` when the socket does not block and has nothing; ``PoolError`` when it
    is not a message.
    """
    room = socket.CMSG_SPACE(_MAX_FDS * array.array("i").itemsize)
    try:
        data, rights, _, _ = sock.recvmsg(_RECEIVE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    fds = array.array("i")
    for level, kind, content in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not data:
        return None
    try:
        return _control_decoder.decode(data), list(fds)
    except (msgspec.DecodeError, ValueError) as error:
        for fd in fds:
            os.close(fd)
        raise PoolError(f"the prefork control socket carries something else: {error}") from error


def blob_into_descriptor(blob: bytes) -> int:
    """Return a memfd that holds ``blob``: a packet is limited to some 200 KB, a task table is not."""
    fd = os.memfd_create("taskd-blob", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(blob)
    return fd


def blob_from_descriptor(fd: int) -> bytes:
    """Return what ``blob_into_descriptor`` wrote, and close the descriptor."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        return file.read()
