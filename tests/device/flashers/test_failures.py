"""What is said when a tool fails: stand-ins that say what the real tools do, in their words."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolchain.board import Board
from toolchain.device.flashers.catalog import FLASHERS, write_image
from toolchain.errors import FlashError, ToolMissing

MakeBoard = Callable[..., Board]
StandIn = Callable[[str, str, int], Path]

TABLES: dict[str, dict[str, Any]] = {
    "openocd": {"interface": "interface/stlink.cfg", "target": "target/stm32f4x.cfg"},
    "pyocd": {"target": "stm32f405rg"},
    "st-flash": {},
    "jlink": {"device": "STM32F405RG"},
    "esptool": {"chip": "esp32c3"},
    "avrdude": {"part": "m328p"},
    "bossac": {"offset": 0x2000},
    "dfu-util": {"id": "0483:df11"},
    "picotool": {},
}

OPENOCD = """\
Open On-Chip Debugger 0.12.0
Info : auto-selecting first available session transport "hla_swd".
Info : clock speed 2000 kHz
"""
DFU = "dfu-util 0.11\n\ndfu-util: Warning: Invalid DFU suffix signature\n"
JLINK = "SEGGER J-Link Commander V7.94e (Compiled Jan  8 2024 15:08:34)\n"
PLUGDEV = "run: sudo usermod -aG plugdev $USER, log out and in, and plug the"
DIALOUT = "Run: sudo usermod -aG dialout $USER, then log out and in again."
WIRES = (
    "Check that the board has power and the wires SWDIO, SWCLK and ground; hold reset while it "
    "starts."
)
BOOT = "Hold BOOT, press reset, let go of BOOT, and try again"

# Flasher, what it says, its exit code, what we say.
FAILURES = [
    # openocd: no probe, no permission, no chip, another chip, bad configuration, verify
    (
        "openocd",
        OPENOCD + "Error: open failed\nin procedure 'program'\n** OpenOCD init failed **\n",
        1,
        "openocd finds no probe. Check the probe's USB cable, and interface of [flasher] in the "
        "profile.",
    ),
    (
        "openocd",
        OPENOCD + "Error: unable to find a matching CMSIS-DAP device\n** OpenOCD init failed **\n",
        1,
        "openocd finds no probe. Check the probe's USB cable, and interface of [flasher] in the "
        "profile.",
    ),
    (
        "openocd",
        OPENOCD + "Error: libusb_open() failed with LIBUSB_ERROR_ACCESS\nError: open failed\n",
        1,
        f"openocd may not use the probe. Its udev rules come with the package; {PLUGDEV} probe in "
        "again.",
    ),
    (
        "openocd",
        OPENOCD + "Info : Target voltage: 3.2\n"
        "Error: init mode failed (unable to connect to the target)\n** OpenOCD init failed **\n",
        1,
        f"openocd reaches the probe but not the chip. {WIRES}",
    ),
    (
        "openocd",
        OPENOCD + "Warn : UNEXPECTED idcode: 0x1ba01477\nError: expected 1 of 1: 0x2ba01477\n",
        1,
        "openocd finds another chip than the profile says. Check that the right board is "
        "connected.",
    ),
    (
        "openocd",
        "embedded:startup.tcl:28: Error: Can't find interface/stlink.cfg\nin procedure 'script'\n",
        1,
        "openocd has no file interface/stlink.cfg. Check interface and target of [flasher] in the "
        "profile; they lie in openocd's scripts folder.",
    ),
    (
        "openocd",
        OPENOCD + "** Programming Finished **\n** Verify Started **\n"
        "Error: checksum mismatch - attempting binary compare\n** Verify Failed **\n",
        1,
        "openocd wrote the image and reads back something else. Is the flash write-protected, or "
        "the chip another one? Try again with speed_khz = 500 in the profile.",
    ),
    # pyocd
    (
        "pyocd",
        "No connected debug probes\n0001044 E No target device available [load_cmd]\n",
        1,
        "pyocd finds no probe. Check the probe's USB cable.",
    ),
    (
        "pyocd",
        "0000893 C Target type stm32f405rg not recognized. Use 'pyocd list --targets' to see "
        "currently available target types. [__main__]\n",
        1,
        "pyocd does not know the target stm32f405rg. Run: pyocd pack install stm32f405rg",
    ),
    (
        "pyocd",
        "0000760 C SWD/JTAG communication failure (No ACK) [__main__]\n",
        1,
        f"pyocd reaches the probe but not the chip. {WIRES}",
    ),
    (
        "pyocd",
        "0000241 C Unable to open device: [Errno 13] Access denied (insufficient permissions)\n",
        1,
        "pyocd may not use the probe. Add its udev rules "
        "(https://github.com/pyocd/pyOCD/tree/main/udev) and plug the probe in again.",
    ),
    (
        "pyocd",
        "0001612 C flash program page failure (address 0x08000000; result code 0x1) [__main__]\n",
        1,
        "pyocd could not write the flash. Is it write-protected? Try again with speed_khz = 500 "
        "in the profile.",
    ),
    # st-flash
    (
        "st-flash",
        "st-flash 1.7.0\n2026-11-23T16:29:40 WARN usb.c: Couldn't find any ST-Link devices\n",
        255,
        "st-flash finds no ST-LINK. Check its USB cable, and that no debugger holds it. An "
        "ST-LINK/V1 must be kept from Linux's disk driver: sudo modprobe -r usb-storage && sudo "
        "modprobe usb-storage quirks=483:3744:i",
    ),
    (
        "st-flash",
        "st-flash 1.7.0\nlibusb: error [get_usbfs_fd] libusb couldn't open USB device "
        "/dev/bus/usb/001/005: Permission denied\n"
        "WARN usb.c: Couldn't find any ST-Link devices\n",
        255,
        "st-flash may not use the ST-LINK. Its udev rules come with the package; plug the ST-LINK "
        "in again, or run: sudo usermod -aG plugdev $USER, and log out and in.",
    ),
    (
        "st-flash",
        "st-flash 1.7.0\nWARN common.c: unknown chip id! 0x5fa0004\nFailed to connect to target\n",
        255,
        "st-flash finds the chip 0x5fa0004, which it does not know. Check the board's power and "
        "the SWD wires, and that it is the board of the profile.",
    ),
    (
        "st-flash",
        "st-flash 1.7.0\nERROR common.c: Can not connect to target. Please use 'connect under "
        "reset' and try again\nFailed to connect to target\n",
        255,
        "st-flash reaches the ST-LINK but not the chip. Check that the board has power and the "
        "SWD wires, hold reset while it starts.",
    ),
    (
        "st-flash",
        "INFO common.c: Starting verification of write complete\n"
        "ERROR common.c: Verification of flash failed at offset: 4096\n"
        "stlink_fwrite_flash() == -1\n",
        255,
        "st-flash wrote the image and reads back something else at offset 4096. Is the flash "
        "write-protected? Erase it and try again: st-flash erase",
    ),
    # jlink: its exit code is 0 in some versions
    (
        "jlink",
        JLINK + "Connecting to J-Link via USB...FAILED: Cannot connect to J-Link.\n",
        1,
        "J-Link Commander finds no J-Link, or may not use it. Check its USB cable; on Linux, its "
        "udev rules come with SEGGER's package.",
    ),
    (
        "jlink",
        JLINK + "Connecting to J-Link via USB...O.K.\nVTref=3.299V\nConnecting to target via SWD\n"
        "Failed to attach to CPU. Trying connect under reset.\nCannot connect to target.\n",
        0,
        "J-Link Commander reaches the J-Link but not the chip. Check the wires SWDIO, SWCLK and "
        "ground, that the board has power, and the device in the profile.",
    ),
    (
        "jlink",
        JLINK + "Connecting to J-Link via USB...O.K.\nVTref=0.000V\nCannot connect to target.\n",
        1,
        "J-Link Commander measures no voltage at the board. Check its power and VTref.",
    ),
    (
        "jlink",
        JLINK + "Downloading file [out/firmware.bin]...\n"
        "****** Error: Verification failed @ address 0x08000000\n"
        "Unspecified error -1\nScript processing completed.\n",
        0,
        "J-Link Commander wrote the image and reads back something else. Is the flash "
        "write-protected? Try again with speed_khz = 500 in the profile.",
    ),
    # esptool
    (
        "esptool",
        "ERROR: A fatal error occurred: Could not open /dev/ttyX, the port is busy or doesn't "
        "exist.\n([Errno 2] could not open port /dev/ttyX: [Errno 2] No such file or directory: "
        "'/dev/ttyX')\n\nHint: Check if the port is correct and ESP connected\n",
        2,
        "esptool cannot open /dev/ttyX: it is busy or absent. Close the program that holds it; "
        "shelfcast ports lists what is plugged in.",
    ),
    (
        "esptool",
        "ERROR: A fatal error occurred: Could not open /dev/ttyX, the port is busy or doesn't "
        "exist.\n([Errno 13] could not open port /dev/ttyX: [Errno 13] Permission denied: "
        "'/dev/ttyX')\n\nHint: Try to add user into dialout or uucp group.\n",
        2,
        f"esptool may not use the port. {DIALOUT}",
    ),
    (
        "esptool",
        "Connecting......................................\n\nERROR: A fatal error occurred: "
        "Failed to connect to ESP32-C3: No serial data received.\n",
        2,
        f"esptool gets no answer from the chip. {BOOT}; check the cable and the port.",
    ),
    (
        "esptool",
        "ERROR: A fatal error occurred: Failed to connect to ESP32-C3: Wrong boot mode detected "
        "(0x13)! The chip needs to be in download mode.\n",
        2,
        f"the chip started its old program instead of its boot loader. {BOOT}.",
    ),
    (
        "esptool",
        "ERROR: A fatal error occurred: This chip is ESP32-S3, not ESP32-C3. Wrong chip "
        "argument?\n",
        2,
        "the board at the port has an ESP32-S3, the profile says ESP32-C3. Is it the right port? "
        "shelfcast ports lists what is plugged in.",
    ),
    (
        "esptool",
        "ERROR: A fatal error occurred: MD5 of file does not match data in flash!\n",
        2,
        "esptool wrote the image and reads back something else. Try again with a lower baud in "
        "the profile; check the board's power.",
    ),
    (
        "esptool",
        "esptool: error: argument operation: invalid choice: 'write-flash' (choose from "
        "'load_ram', 'write_flash')\n",
        2,
        "this esptool is older than version 5. Run: pip install --upgrade 'esptool>=5'",
    ),
    # avrdude 7
    (
        "avrdude",
        "avrdude ser_open() OS error: cannot open port /dev/ttyX: No such file or directory\n"
        "avrdude main() error: unable to open programmer arduino on port /dev/ttyX\n",
        1,
        "avrdude cannot open the port /dev/ttyX: No such file or directory. Check cable and "
        "--port; shelfcast ports lists what is plugged in.",
    ),
    (
        "avrdude",
        "avrdude OS error: cannot open port /dev/ttyX: Permission denied\n"
        "avrdude error: unable to open programmer arduino on port /dev/ttyX\n",
        1,
        f"avrdude may not use the port. {DIALOUT}",
    ),
    (
        "avrdude",
        'avrdude: ser_open(): can\'t open device "/dev/ttyX": No such file or directory\n',
        1,
        "avrdude cannot open the port /dev/ttyX: No such file or directory. Check cable and "
        "--port; shelfcast ports lists what is plugged in.",
    ),
    (
        "avrdude",
        "avrdude: stk500_recv(): programmer is not responding\n"
        "avrdude: stk500_getsync() attempt 1 of 10: not in sync: resp=0x00\n",
        1,
        "avrdude gets no answer from the boot loader. Check the port and baud of [flasher] in the "
        "profile; press reset and try again.",
    ),
    (
        "avrdude",
        "avrdude: Device signature = 0x1e9801 (probably m2560)\n"
        "avrdude: Expected signature for ATmega328P is 1E 95 0F\n"
        "         Double check chip, or use -F to override this check.\n",
        1,
        "avrdude finds another chip than the profile says: its signature is 0x1e9801. Check that "
        "the right board is at the port.",
    ),
    (
        "avrdude",
        "avrdude: verifying ...\navrdude: verification error, first mismatch at byte 0x0000\n"
        "         0x00 != 0xff\navrdude: verification error; content mismatch\n",
        1,
        "avrdude wrote the image and reads back something else. Try again; if it stays, the flash "
        "is worn or locked.",
    ),
    (
        "avrdude",
        "avrdude error: AVR part m328p not found\nValid parts are:\n",
        1,
        "avrdude does not know the part m328p. Check part of [flasher] in the profile; "
        "avrdude -p ? lists them.",
    ),
    # bossac
    (
        "bossac",
        "No device found on /dev/ttyX\n",
        1,
        "bossac finds no boot loader at /dev/ttyX. Press reset twice, quickly: the port may then "
        "have another name, which shelfcast ports shows.",
    ),
    (
        "bossac",
        "Device unsupported\n",
        1,
        "bossac does not know the chip at the port. Check that the right board is connected.",
    ),
    (
        "bossac",
        "Verify 11480 bytes of flash\n\nVerify failed\nPage errors: 3\nByte errors: 700\n",
        2,
        "bossac wrote the image and reads back something else. Try again; if it stays, is the "
        "flash locked? bossac --unlock opens it.",
    ),
    (
        "bossac",
        "\nSAM-BA operation failed\n",
        1,
        "the boot loader stopped answering bossac. Press reset twice, quickly, and try again.",
    ),
    # dfu-util
    (
        "dfu-util",
        DFU + "dfu-util: No DFU capable USB device available\n",
        74,
        "dfu-util finds no board in its boot loader. Hold the boot button while plugging it in or "
        "pressing reset, and try again.",
    ),
    (
        "dfu-util",
        DFU + "dfu-util: Cannot open DFU device 0483:df11 found on devnum 7 "
        "(LIBUSB_ERROR_ACCESS)\ndfu-util: No DFU capable USB device available\n",
        74,
        f"dfu-util may not use the boot loader. Its udev rules come with the package; {PLUGDEV} "
        "board in again.",
    ),
    (
        "dfu-util",
        DFU + "dfu-util: More than one DFU capable USB device found! Try `--list' and specify the "
        "serial number or disconnect all but one device\n",
        74,
        "dfu-util finds more than one board in its boot loader. Unplug all but one.",
    ),
    (
        "dfu-util",
        DFU + "dfu-util: Last page at 0x08020000 is not writeable\n",
        74,
        "the boot loader has no writable flash at 0x08020000. Check alt and address of [flasher] "
        "in the profile, and that it is the right board.",
    ),
    (
        "dfu-util",
        DFU + "state(10) = dfuERROR, status(7) = Programmed memory failed verification\n",
        74,
        "the boot loader wrote the image and reads back something else. Try again; if it stays, "
        "the flash is worn or write-protected.",
    ),
    # picotool: its exit codes are negative
    (
        "picotool",
        "No accessible RP-series devices in BOOTSEL mode were found.\n",
        249,
        "picotool finds no board in BOOTSEL mode. Hold BOOTSEL while plugging it in, and try "
        "again.",
    ),
    (
        "picotool",
        "No accessible RP-series devices in BOOTSEL mode were found.\n\nbut:\n\n"
        "RP2040 device at bus 3, address 12 appears to be in BOOTSEL mode, but picotool was "
        "unable to connect. Maybe try 'sudo' or check your permissions.\n",
        249,
        "picotool may not use the board. Add its udev rules "
        "(https://github.com/raspberrypi/picotool/tree/master/udev) and plug it in again.",
    ),
    (
        "picotool",
        "Verifying Flash: [====  ]\nERROR: The device contents did not match the file\n",
        245,
        "picotool wrote the image and reads back something else. Try again; if it stays, the "
        "flash is worn.",
    ),
]


@pytest.mark.parametrize(
    ("kind", "says", "code", "message"),
    FAILURES,
    ids=[f"{case[0]}: {case[3][:40]}" for case in FAILURES],
)
def test_a_failure_is_one_line_that_says_what_to_do(
    make_board: MakeBoard,
    image: Path,
    stand_in: StandIn,
    kind: str,
    says: str,
    code: int,
    message: str,
) -> None:
    stand_in(FLASHERS[kind].program, says, code)
    with pytest.raises(FlashError) as caught:
        write_image(make_board(kind=kind, **TABLES[kind]), image, port="/dev/ttyX")

    assert str(caught.value) == f"shelf: {message}"
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_failure_nobody_foresaw_is_told_in_the_tools_own_words(
    make_board: MakeBoard, image: Path, stand_in: StandIn
) -> None:
    stand_in("st-flash", "st-flash 9\nhello\nERROR flux.c: capacitor failed.\nbye\n", 7)

    with pytest.raises(FlashError) as caught:
        write_image(make_board(kind="st-flash"), image)

    assert str(caught.value) == (
        "shelf: st-flash failed with exit code 7: ERROR flux.c: capacitor failed. Repeat it: "
        f"st-flash --reset write {image.with_suffix('.bin')} 0x08000000"
    )


def test_a_tool_that_dies_silently_is_still_named(
    make_board: MakeBoard, image: Path, stand_in: StandIn
) -> None:
    stand_in("picotool", "", 3)

    with pytest.raises(FlashError) as caught:
        write_image(make_board(kind="picotool"), image)

    assert str(caught.value) == (
        "shelf: picotool failed with exit code 3 and said nothing. Repeat it: picotool load "
        f"--verify --execute {image}"
    )


@pytest.mark.parametrize("kind", TABLES)
def test_a_missing_tool_says_how_to_get_it(make_board: MakeBoard, image: Path, kind: str) -> None:
    program = FLASHERS[kind].program
    with pytest.raises(ToolMissing) as caught:
        write_image(
            make_board(kind=kind, **TABLES[kind]), image, port="/dev/ttyX", which=lambda name: None
        )

    said = str(caught.value)
    assert said.startswith(f"{program}: not installed, and shelf is flashed with it. Get it: ")
    assert said.removesuffix("esptool>=5'").split("Get it: ")[1]
    assert caught.value.exit_code == 3


def test_a_tool_that_cannot_start_says_so(
    make_board: MakeBoard, image: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "picotool"
    broken.write_text("")
    with pytest.raises(ToolMissing) as caught:
        write_image(make_board(kind="picotool"), image, which=lambda name: str(broken))

    assert str(caught.value).startswith(f"{broken}: cannot be started: permission denied. Install")


def test_a_tool_that_hangs_is_stopped(make_board: MakeBoard, image: Path, tmp_path: Path) -> None:
    hanging = tmp_path / "picotool"
    hanging.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\necho waiting\nexec sleep 60\n")
    hanging.chmod(0o755)
    with pytest.raises(FlashError) as caught:
        write_image(
            make_board(kind="picotool"), image, which=lambda name: str(hanging), silence_s=1.5
        )

    assert str(caught.value) == (
        "shelf: picotool said nothing for 1.5 s and was stopped. Unplug the board, plug it in, and "
        f"try again, or see for yourself: picotool load --verify --execute {image}"
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_tool_that_hangs_after_it_said_why_is_understood(
    make_board: MakeBoard, image: Path, tmp_path: Path
) -> None:
    hanging = tmp_path / "avrdude"  # as avrdude 7.1 does with `wiring` at an absent port
    hanging.write_text(
        "#!/bin/sh\necho 'OS error: cannot open port /dev/ttyX: No such file or directory'\n"
        "exec sleep 60\n"
    )
    hanging.chmod(0o755)
    board = make_board(kind="avrdude", part="m2560", programmer="wiring")
    with pytest.raises(FlashError, match=r"^shelf: avrdude cannot open the port /dev/ttyX: "):
        write_image(board, image, port="/dev/ttyX", which=lambda name: str(hanging), silence_s=1.5)


# What a success looks like, for the tools whose exit code alone does not show it.
SUCCESSES = [
    ("openocd", "** Programming Finished **\n** Verified OK **\n** Resetting Target **\n", 0),
    ("dfu-util", DFU + "Download done.\nFile downloaded successfully\n", 0),
    # Older versions take the boot loader's leaving for an error.
    (
        "dfu-util",
        "File downloaded successfully\ndfu-util: Error during download get_status\n",
        74,
    ),
    (
        "jlink",
        JLINK + "Connecting to J-Link via USB...O.K.\nDownloading file [firmware.bin]...\n"
        "O.K.\nScript processing completed.\n",
        0,
    ),
]


@pytest.mark.parametrize(("kind", "says", "code"), SUCCESSES)
def test_a_success_is_seen(
    make_board: MakeBoard, image: Path, stand_in: StandIn, kind: str, says: str, code: int
) -> None:
    arguments = stand_in(FLASHERS[kind].program, says, code)
    told: list[tuple[float, str]] = []

    write_image(
        make_board(kind=kind, **TABLES[kind]),
        image,
        progress=lambda fraction, words: told.append((fraction, words)),
    )

    assert str(image.parent) in arguments.read_text()
    assert told[-1] == (1.0, f"{FLASHERS[kind].program} is done")


def test_commanders_script_is_there_when_it_runs(
    make_board: MakeBoard, image: Path, stand_in: StandIn
) -> None:
    arguments = stand_in(FLASHERS["jlink"].program, "O.K.\n", 0)

    write_image(make_board(kind="jlink", device="STM32F405RG"), image)

    script = Path(arguments.read_text().splitlines()[-1])
    assert f'loadfile "{image.with_suffix(".bin")}" 0x08000000' in script.read_text().splitlines()
