from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from toolchain.board import Board
from toolchain.device.ports import (
    FoundPort,
    choose_port,
    find_ports,
    looks_like,
    wait_for_return,
)
from toolchain.errors import PortError
from toolchain.flashing import UsbDevice

UNO = FoundPort("/dev/ttyACM0", "2341:0043", "757", "1-2", "Arduino Uno")
SECOND_UNO = FoundPort("/dev/ttyACM1", "2341:0043", "758", "1-3", "Arduino Uno")
ADAPTER = FoundPort("/dev/ttyUSB0", "0403:6001", "A9", "1-4", "FT232R USB UART")
LEGACY = FoundPort("/dev/ttyS0")


@pytest.fixture
def uno(netduino: Board) -> Board:
    usb = (
        UsbDevice(id="2341:0043", what="USB-serial chip"),
        UsbDevice(id="2341:0010", what="boot loader", console=False),
    )
    return netduino.model_copy(update={"name": "uno", "usb": usb})


def test_ports_are_listed_as_values_by_name() -> None:
    def comports() -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                device="/dev/ttyUSB0", vid=0x0403, pid=0x6001, serial_number="A9",
                location="1-4:1.0", description="FT232R USB UART",
            ),
            SimpleNamespace(
                device="/dev/ttyS0", vid=None, pid=None, serial_number=None, location=None,
                description="n/a",
            ),
        ]  # fmt: skip

    assert find_ports(comports) == (LEGACY, ADAPTER)


def test_this_machines_ports_can_be_listed() -> None:
    assert all(port.device for port in find_ports())


def test_a_port_is_shown_with_what_is_known_of_it() -> None:
    assert str(UNO) == "/dev/ttyACM0 (Arduino Uno, USB 2341:0043)"
    assert str(LEGACY) == "/dev/ttyS0"


def test_a_port_looks_like_the_boards_with_its_usb_id(uno: Board, netduino: Board) -> None:
    boards = [uno, netduino]

    assert looks_like(UNO, boards) == [(uno, "USB-serial chip")]
    assert looks_like(FoundPort("x", "0483:df11"), boards) == [
        (netduino, "boot loader in the chip's ROM")
    ]
    assert looks_like(ADAPTER, boards) == []
    assert looks_like(LEGACY, boards) == []


def test_the_only_port_with_the_boards_id_is_taken(uno: Board) -> None:
    assert choose_port(uno, [LEGACY, ADAPTER, UNO]) == UNO


def test_a_person_chooses_between_two(uno: Board) -> None:
    asked: list[tuple[str, Sequence[FoundPort]]] = []

    def ask(question: str, ports: Sequence[FoundPort]) -> FoundPort:
        asked.append((question, ports))
        return ports[1]

    assert choose_port(uno, [UNO, ADAPTER, SECOND_UNO], ask=ask) == SECOND_UNO
    assert asked == [("Which port is uno at?", [UNO, SECOND_UNO])]


def test_two_and_nobody_to_ask_lists_both(uno: Board) -> None:
    with pytest.raises(PortError) as caught:
        choose_port(uno, [UNO, ADAPTER, SECOND_UNO])

    assert str(caught.value) == (
        "uno: 2 ports look like it: /dev/ttyACM0 (Arduino Uno, USB 2341:0043), /dev/ttyACM1 "
        "(Arduino Uno, USB 2341:0043). Name one with --port."
    )
    assert caught.value.exit_code == 4


def test_no_port_with_the_boards_id_lists_what_is_there(uno: Board) -> None:
    with pytest.raises(PortError) as caught:
        choose_port(uno, [ADAPTER])

    assert str(caught.value) == (
        "uno: no serial port with the USB id 2341:0043 is plugged in; there are: /dev/ttyUSB0 "
        "(FT232R USB UART, USB 0403:6001). Check the cable, or name the port with --port."
    )


def test_a_console_on_any_adapter_is_never_guessed(netduino: Board) -> None:
    with pytest.raises(PortError) as caught:
        choose_port(netduino, [ADAPTER])

    assert str(caught.value) == (
        "netduinoplus2: its console hangs on any adapter: /dev/ttyUSB0 (FT232R USB UART, USB "
        "0403:6001). Name one with --port."
    )
    assert choose_port(netduino, [ADAPTER], ask=lambda question, ports: ports[0]) == ADAPTER


def test_nothing_plugged_in_says_so(netduino: Board) -> None:
    with pytest.raises(PortError) as caught:
        choose_port(netduino, [])

    assert str(caught.value) == (
        "netduinoplus2: no serial port is plugged in. Check the cable, or name the port with "
        "--port."
    )


class Usb:
    """A USB bus whose devices come and go as time passes."""

    def __init__(self, *states: tuple[float, Sequence[FoundPort]]) -> None:
        self.states = states
        self.now = 0.0

    def list_ports(self) -> tuple[FoundPort, ...]:
        current: Sequence[FoundPort] = ()
        for since, ports in self.states:
            if self.now >= since:
                current = ports
        return tuple(current)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, before: FoundPort, settle_s: float | None = None) -> FoundPort:
        return wait_for_return(
            before, "after flashing", settle_s=settle_s, list_ports=self.list_ports,
            clock=lambda: self.now, sleep=self.sleep,
        )  # fmt: skip


LOADER = FoundPort("/dev/ttyACM7", "2341:0010", None, "1-2")


@pytest.mark.parametrize(
    "after",
    [
        UNO,
        FoundPort("/dev/ttyACM3", "2341:0043", "757", "1-2"),
        LOADER,
        FoundPort("/dev/ttyACM0", "2341:0010", None, "1-2"),
    ],
    ids=["same name", "another name", "boot loader", "boot loader of the same name"],
)
def test_a_board_that_comes_back_is_found(after: FoundPort) -> None:
    usb = Usb((0, [UNO, ADAPTER]), (1, [ADAPTER]), (3, [ADAPTER, after]))

    assert usb.wait(UNO) == after
    assert usb.now == pytest.approx(3, abs=0.2)


def test_a_restart_between_two_looks_shows_by_what_came_back() -> None:
    usb = Usb((0, [LOADER]))

    assert usb.wait(UNO) == LOADER
    assert usb.now == 0


def test_without_sockets_and_serials_the_name_decides() -> None:
    before = FoundPort("COM3", "2341:0043")
    usb = Usb((0, [before]), (1, []), (2, [FoundPort("COM4", "2341:0043")]), (4, [before]))

    assert usb.wait(before) == before
    assert usb.now == pytest.approx(4, abs=0.2)


def test_a_port_that_never_goes_is_taken_once_it_has_settled() -> None:
    usb = Usb((0, [ADAPTER]))

    assert usb.wait(ADAPTER, settle_s=2.0) == ADAPTER
    assert usb.now == pytest.approx(2, abs=0.2)


def test_a_board_that_does_not_come_back_is_an_error() -> None:
    with pytest.raises(PortError) as caught:
        Usb((0, [UNO]), (1, [ADAPTER])).wait(UNO)

    assert str(caught.value) == (
        "/dev/ttyACM0: went away after flashing and did not come back within 10 s. Plug the board "
        "in again; shelfcast ports shows where it is."
    )
    assert caught.value.exit_code == 4


def test_a_board_that_does_not_go_is_an_error() -> None:
    with pytest.raises(PortError) as caught:
        Usb((0, [UNO])).wait(UNO)

    assert str(caught.value) == (
        "/dev/ttyACM0: is still there 10 s after flashing: the board did not restart. Press reset "
        "twice, quickly, or hold its boot button while plugging it in."
    )
