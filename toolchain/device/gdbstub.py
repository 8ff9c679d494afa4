"""Write memory through a gdb stub, and read it back: flashing, for whatever has such a stub.

The protocol is gdb's, in "Debugging with GDB", appendix E, "GDB Remote Serial Protocol". Six of
its packets are enough; `docs/decisions/gdb-stub.md` says why gdb itself is not used.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable

from toolchain.errors import FlashError
from toolchain.firmware.elf import Segment

_PIECE = 1_024
"""Bytes of memory per packet: QEMU's packets hold 4,096 characters, two for each byte."""
_REPLY_TIMEOUT_S = 10.0
_ALIVE_EVERY_S = 0.25


class GdbStub:
    """A connection to a gdb stub whose target is stopped."""

    def __init__(self, connection: socket.socket, alive: Callable[[], None]) -> None:
        """Talk over `connection`; `alive` raises when its other end died."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._alive = alive
        self._rest = b""

    def close(self) -> None:
        """Leave the target as it is."""
        self._socket.close()

    def write(self, segment: Segment) -> None:
        """Write a segment.

        Raises:
            FlashError: the target has no memory there.
        """
        for start in range(0, len(segment.data), _PIECE):
            piece = segment.data[start : start + _PIECE]
            address = segment.address + start
            reply = self._ask(f"M{address:x},{len(piece):x}:{piece.hex()}")
            if reply != "OK":
                raise FlashError(
                    f"0x{address:08x}: {len(piece)} bytes were refused ({reply or 'no reason'}). "
                    "Nothing can be written there: check the board's memory and the linker script."
                )

    def read(self, address: int, count: int) -> bytes:
        """Read memory.

        Raises:
            FlashError: the target has no memory there.
        """
        data = b""
        while len(data) < count:
            here = address + len(data)
            reply = self._ask(f"m{here:x},{min(_PIECE, count - len(data)):x}")
            try:
                piece = bytes.fromhex(reply)
            except ValueError:
                piece = b""
            if not piece:
                raise FlashError(f"0x{here:08x}: cannot be read back ({reply or 'refused'}).")
            data += piece
        return data

    def verify(self, segment: Segment) -> None:
        """Compare memory with a segment, byte for byte.

        Raises:
            FlashError: a byte differs; the message names the first and counts them.
        """
        found = self.read(segment.address, len(segment.data))
        wrong = [
            i for i, (is_, be) in enumerate(zip(found, segment.data, strict=True)) if is_ != be
        ]
        if wrong:
            first = wrong[0]
            raise FlashError(
                f"0x{segment.address + first:08x}: holds {found[first]:02x} instead of "
                f"{segment.data[first]:02x}; {len(wrong):,} of {len(found):,} bytes differ. "
                "Flash it again; if it stays, the memory map of the board's profile is wrong."
            )

    def command(self, text: str) -> None:
        """Have the stub carry out a command of its own, gdb's `monitor`."""
        self._send(f"qRcmd,{text.encode().hex()}")
        # What the command prints comes first, in packets that start with O, but OK is the end.
        while (reply := self._receive()) != "OK":
            if not reply.startswith("O"):
                raise FlashError(f"`monitor {text}` was refused ({reply or 'not known'}).")

    def registers(self, count: int = 16) -> tuple[int, ...]:
        """Read the first `count` registers: r0 to r15 on ARM; x0 to x31, then pc on RISC-V."""
        reply = self._ask("g")
        try:
            return struct.unpack_from(f"<{count}I", bytes.fromhex(reply))
        except (ValueError, struct.error) as cause:
            raise FlashError(f"registers cannot be read ({reply[:16]}). Flash again.") from cause

    def step(self) -> None:
        """Have the target execute one instruction."""
        reply = self._ask("s")
        if not reply.startswith(("S", "T")):
            raise FlashError(f"an instruction cannot be stepped ({reply[:16]}). Flash again.")

    def resume(self) -> None:
        """Let the target run, and leave it alone."""
        self._ask("D")
        self._socket.close()

    def _ask(self, packet: str) -> str:
        self._send(packet)
        return self._receive()

    def _send(self, packet: str) -> None:
        body = packet.encode("ascii")
        try:
            self._socket.sendall(b"$%s#%02x" % (body, sum(body) & 0xFF))
        except OSError as cause:
            raise self._gone() from cause

    def _receive(self) -> str:
        """Return the next packet's text."""
        deadline = time.monotonic() + _REPLY_TIMEOUT_S
        while True:
            start = self._rest.find(b"$")
            end = self._rest.find(b"#", start)
            if 0 <= start < end and len(self._rest) >= end + 3:
                body, checksum = self._rest[start + 1 : end], self._rest[end + 1 : end + 3]
                self._rest = self._rest[end + 3 :]
                if int(checksum, 16) != sum(body) & 0xFF:
                    raise FlashError("the gdb stub's packet is damaged. Flash again.")
                self._socket.sendall(b"+")
                return body.decode("ascii")
            self._alive()
            if time.monotonic() > deadline:
                raise FlashError(
                    f"the gdb stub did not answer within {_REPLY_TIMEOUT_S:.0f} s. Flash again."
                )
            try:
                if select.select([self._socket], [], [], _ALIVE_EVERY_S)[0]:
                    data = self._socket.recv(65_536)
                    if not data:
                        raise self._gone()
                    self._rest += data
            except OSError as cause:
                raise self._gone() from cause

    def _gone(self) -> FlashError:
        """Find out why the stub went away: a process closes its sockets before it is dead."""
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            self._alive()
            time.sleep(0.02)
        return FlashError("the gdb stub closed the connection. Flash again.")
