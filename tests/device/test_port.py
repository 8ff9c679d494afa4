from __future__ import annotations

import errno
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from serial import SerialException

from toolchain.device.link import open_link
from toolchain.device.port import PortClosed, SocketPort, open_port
from toolchain.errors import PortError


def refuse(error: Exception) -> Any:
    """Open like pyserial does when the operating system refuses."""

    def open_serial(*arguments: object, **settings: object) -> object:
        raise error

    return open_serial


def test_an_absent_port_lists_what_is_plugged_in() -> None:
    with pytest.raises(PortError) as caught:
        open_port(
            "/dev/ttyNOT",
            115_200,
            list_serial=lambda: ["/dev/ttyACM0 (STLINK-V3)", "/dev/ttyUSB1"],
        )

    assert str(caught.value) == (
        "/dev/ttyNOT: no such port. Plugged in: /dev/ttyACM0 (STLINK-V3), /dev/ttyUSB1. "
        "Check cable and --port."
    )
    assert caught.value.exit_code == 4


def test_an_absent_port_says_when_nothing_is_plugged_in() -> None:
    with pytest.raises(PortError) as caught:
        open_port("/dev/ttyNOT", 115_200, list_serial=list)

    assert str(caught.value) == (
        "/dev/ttyNOT: no such port. No serial port is plugged in. Check cable and --port."
    )


def test_a_port_that_another_program_holds_is_busy(bench: SimpleNamespace) -> None:
    with (
        bench.on_a_pty(bench.ToyDevice().answer) as name,
        open_link(name, 115_200),
        pytest.raises(PortError) as caught,
    ):
        open_link(name, 115_200)

    assert str(caught.value) == (
        f"{name}: busy: another program holds it (fuser -v {name} shows which). "
        "Close that program, then try again."
    )
    assert caught.value.exit_code == 4


def test_a_forbidden_port_says_which_command_mends_it() -> None:
    error = SerialException(errno.EACCES, "could not open port: [Errno 13] Permission denied")

    with pytest.raises(PortError) as caught:
        open_port("/dev/ttyNOT", 115_200, open_serial=refuse(error))

    assert str(caught.value) == (
        "/dev/ttyNOT: permission denied; it belongs to the group dialout. "
        "Run: sudo usermod -aG dialout $USER, then log out and in again."
    )
    assert caught.value.exit_code == 4


def test_what_is_no_serial_port_is_refused() -> None:
    with pytest.raises(PortError) as caught:
        open_port("/dev/null", 115_200)

    assert str(caught.value).startswith("/dev/null: cannot be opened: ")
    assert str(caught.value).endswith("Check that it is a serial port.")


def test_an_impossible_baud_rate_is_refused(bench: SimpleNamespace) -> None:
    with bench.on_a_pty(bench.ToyDevice().answer) as name, pytest.raises(PortError) as caught:
        open_port(name, -5)

    assert str(caught.value) == (
        f"{name}: cannot be opened at -5 baud: Not a valid baudrate: -5. "
        "Check --port and the board's baud."
    )


def test_a_socket_nobody_listens_on_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        name = "socket://{}:{}".format(*listener.getsockname())

    with pytest.raises(PortError) as caught:
        open_port(name, 115_200)

    assert str(caught.value) == (
        f"{name}: connection refused. Check that the emulator or serial server is running."
    )
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("name", ["socket://", "socket://host", "socket://host:x", "socket://h:0"])
def test_a_malformed_address_is_refused(name: str) -> None:
    with pytest.raises(PortError) as caught:
        open_port(name, 115_200)

    assert str(caught.value) == f"{name}: not an address. Write it as socket://host:port."


def test_a_socket_that_ends_is_noticed_after_its_last_bytes() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        port = SocketPort(ours)
        theirs.sendall(b"bye")

    assert port.read(1.0) == b"bye"
    with pytest.raises(PortClosed, match="the other side closed the connection"):
        port.read(1.0)
    port.close()


def test_bytes_go_both_ways_over_a_pseudo_terminal(bench: SimpleNamespace) -> None:
    with (
        bench.on_a_pty(lambda line: b"<" + line + b">\n") as name,
        open_link(name, 115_200) as link,
    ):
        link.write(b"\x01\xff\x11\x13\n")
        assert link.read_line(2.0) == b"<\x01\xff\x11\x13>"


def test_an_unfinished_line_is_not_a_line(bench: SimpleNamespace) -> None:
    with bench.serving(lambda line: b"one\r\ntwo\nthr") as name, open_link(name, 115_200) as link:
        link.write(b"\n")

        assert link.read_line(2.0) == b"one"
        assert link.read_line(2.0) == b"two"
        assert link.read_line(0.05) is None
        assert link.unfinished == b"thr"


def test_noise_without_an_end_does_not_fill_the_memory(bench: SimpleNamespace) -> None:
    with bench.serving(lambda line: b"x" * 100_000) as name, open_link(name, 115_200) as link:
        link.write(b"\n")

        line = link.read_line(2.0)
        assert line is not None
        assert len(line) > 10_000
        assert len(link.unfinished) <= 16_384
