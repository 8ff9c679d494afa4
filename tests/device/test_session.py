from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

from toolchain.device.link import open_link
from toolchain.device.protocol import sealed
from toolchain.device.session import Session
from toolchain.errors import (
    DeviceRefused,
    DeviceReset,
    EmulatorDied,
    LinkCorrupt,
    NoAnswer,
    PortError,
    WrongFirmware,
    WrongModel,
)

WINDOW = np.arange(-7, 8, dtype=np.int8).reshape(5, 3)
FLASH = "Put this tool's firmware on it: shelfcast flash."
QUICK_S = 0.03


@pytest.fixture
def talk(bench: SimpleNamespace) -> Iterator[Callable[..., Session]]:
    """Open sessions with a function that answers lines."""
    opened = []

    def open_session(reply: Callable[[bytes], bytes], **settings: object) -> Session:
        settings.setdefault("timeout_s", QUICK_S)
        session = Session(bench.direct_link(bench.DirectPort(reply)), **settings)  # type: ignore[arg-type]
        opened.append(session)
        return session

    yield open_session
    for session in opened:
        session.close()


Talk = Callable[..., Session]


def test_a_device_introduces_itself(bench: SimpleNamespace, talk: Talk) -> None:
    greeting = talk(bench.ToyDevice().answer).hello()

    assert greeting.board == "netduinoplus2"
    assert (greeting.steps, greeting.features, greeting.outputs) == (5, 3, 1)
    assert (greeting.input_scale, greeting.input_zero_point) == (0.25, -3)
    assert greeting.model_crc == bench.MODEL_CRC


def test_a_forecast_is_that_of_the_window_sent(bench: SimpleNamespace, talk: Talk) -> None:
    session = talk(bench.ToyDevice().answer)
    outputs, ticks = session.forecast(WINDOW)

    state = bench.toy_forecast(WINDOW)
    assert outputs.tolist() == [bench.as_int8(state)]
    assert outputs.dtype == np.int8
    assert ticks == 1000 + state


def test_a_kept_state_goes_on_and_a_new_window_starts_anew(
    bench: SimpleNamespace, talk: Talk
) -> None:
    session = talk(bench.ToyDevice().answer)
    once = bench.toy_forecast(WINDOW)

    first = session.forecast(WINDOW)[0][0]
    kept = session.forecast(WINDOW, keep=True)[0][0]
    again = session.forecast(WINDOW)[0][0]

    assert first == again == bench.as_int8(once)
    assert kept == bench.as_int8(bench.toy_forecast(WINDOW, once))


def test_steps_lead_where_the_window_leads(bench: SimpleNamespace, talk: Talk) -> None:
    session = talk(bench.ToyDevice().answer)
    session.reset()
    for sample in WINDOW:
        outputs, _ = session.step(sample)

    assert outputs is not None
    assert outputs[0] == session.forecast(WINDOW)[0][0]


def test_a_whole_sequence_head_has_no_forecast_before_the_end(
    bench: SimpleNamespace, talk: Talk
) -> None:
    session = talk(bench.ToyDevice(whole_sequence=True).answer)

    assert session.step(WINDOW[0])[0] is None


def test_states_are_read_with_their_sign(bench: SimpleNamespace, talk: Talk) -> None:
    session = talk(bench.ToyDevice().answer)
    session.forecast(WINDOW)
    hidden, cells = session.state(0)

    state = bench.toy_forecast(WINDOW)
    assert hidden.tolist() == [state % 128] * 4
    assert cells.tolist() == [state, state - 1000, state - 2000, state - 3000]
    assert (hidden.dtype, cells.dtype) == (np.int8, np.int16)


def test_the_window_is_read_back(bench: SimpleNamespace, talk: Talk) -> None:
    session = talk(bench.ToyDevice().answer)
    session.load(WINDOW)

    assert np.array_equal(session.read_input(), WINDOW)


def test_a_window_longer_than_a_line_is_sent_in_pieces(bench: SimpleNamespace, talk: Talk) -> None:
    device = bench.ToyDevice(line_bytes=96)
    device.values["steps"] = "70"
    device.window = bytearray(70 * 3)
    window = np.arange(210, dtype=np.uint8).astype(np.int8).reshape(70, 3)
    session = talk(device.answer)
    session.load(window)

    assert np.array_equal(session.read_input(), window)
    assert device.executed.count("load") == 7


def test_a_slow_board_with_a_large_network_gets_its_time(
    bench: SimpleNamespace, talk: Talk
) -> None:
    device = bench.ToyDevice()
    device.values |= {"steps": "365", "hidden": "256,256", "clock": "8000000"}
    session = talk(device.answer)

    # 365 steps of 4 * 256 * (3 + 256 + 256 + 256) multiplications, 200 cycles each.
    assert session._work_s(365) == pytest.approx(10 + 365 * 4 * 256 * 771 * 200 / 8e6)


def test_the_stack_is_measured(bench: SimpleNamespace, talk: Talk) -> None:
    assert talk(bench.ToyDevice().answer).stack() == (4096, 612)


def test_a_value_of_the_wrong_type_or_shape_is_not_sent(bench: SimpleNamespace, talk: Talk) -> None:
    session = talk(bench.ToyDevice().answer)

    with pytest.raises(ValueError, match=re.escape("needs int8 (5, 3), got float64 (5, 3)")):
        session.load(WINDOW.astype(np.float64))
    with pytest.raises(ValueError, match=re.escape("needs int8 (3,), got int8 (5, 3)")):
        session.step(WINDOW)
    with pytest.raises(ValueError, match=re.escape("layer 1 is outside 0..0")):
        session.state(1)


def test_a_request_longer_than_the_boards_line_is_refused_here(
    bench: SimpleNamespace, talk: Talk
) -> None:
    device = bench.ToyDevice()
    device.values["features"] = "60"
    session = talk(device.answer)

    with pytest.raises(DeviceRefused) as caught:
        session.step(np.zeros(60, np.int8))

    assert str(caught.value) == (
        "toy: `step 000000000000...` makes a line of 139 bytes, the board takes 96. "
        "Raise line_bytes in its profile, and flash it."
    )


def test_sequence_numbers_start_again_after_the_last(bench: SimpleNamespace, talk: Talk) -> None:
    lines: list[bytes] = []
    device = bench.ToyDevice()

    def reply(line: bytes) -> bytes:
        lines.append(line)
        return bytes(device.answer(line))

    session = talk(reply)
    session.hello()
    session._seq = 65_534
    for _ in range(3):
        session.reset()

    assert [line.split()[0] for line in lines[-3:]] == [b"@65535", b"@1", b"@2"]


# What the handshake has to live with.


@pytest.mark.parametrize(
    "before",
    [
        b"\xff\x00\x80\n",
        b"half of an old ans",
        b"ets Jun  8 2016 00:22:57\r\nrst:0x1 (POWERON_RESET)\r\n",
        sealed(b"@9 ok run out=05 ticks=1"),
        sealed(b"err crc damaged"),
        b"# a log line\n",
    ],
)
def test_boot_text_and_garbage_before_the_greeting_are_passed_over(
    bench: SimpleNamespace, talk: Talk, before: bytes
) -> None:
    device = bench.ToyDevice()
    first = [before]
    session = talk(lambda line: (first.pop() if first and line else b"") + device.answer(line))

    assert session.hello().board == "netduinoplus2"
    assert session.forecast(WINDOW)[0][0] == bench.as_int8(bench.toy_forecast(WINDOW))


def test_a_board_that_restarts_when_its_port_is_opened_is_waited_for(
    bench: SimpleNamespace, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolchain.device.session._HELLO_EVERY_S", 5.0)
    device = bench.ToyDevice()
    boot = [device.restart()]
    # The first greeting is lost in the restart.
    session = talk(lambda line: boot.pop() if boot and line else device.answer(line))
    started = time.monotonic()

    assert session.hello().board == "netduinoplus2"
    assert time.monotonic() - started < 4


def test_half_a_line_left_by_an_earlier_host_does_not_swallow_the_greeting(
    bench: SimpleNamespace,
) -> None:
    port = bench.DirectPort(bench.ToyDevice().answer)
    port.partial = b"@5 step 0"
    with Session(bench.direct_link(port)) as session:
        session.hello()

    assert port.closed


# Each way it can fail, by its name.


def test_silence_is_no_answer(bench: SimpleNamespace, talk: Talk) -> None:
    with pytest.raises(NoAnswer) as caught:
        talk(lambda line: b"").hello(timeout_s=0.1)

    assert str(caught.value) == (
        "toy at 10,000,000 baud: no answer to 1 greeting. Check that the board has power and our "
        "firmware (shelfcast flash), that the port is the right one and no other program uses it; "
        "press reset."
    )
    assert caught.value.exit_code == 4


def test_silence_after_log_lines_repeats_them(bench: SimpleNamespace, talk: Talk) -> None:
    lines = [b"# fault bus pc=0x08001234\n"]
    with pytest.raises(NoAnswer) as caught:
        talk(lambda line: lines.pop() if lines else b"").hello(timeout_s=0.1)

    assert str(caught.value) == (
        "toy at 10,000,000 baud: only log lines came, no answer to 1 greeting. Its last words: "
        "fault bus pc=0x08001234. Press reset on the board and try again."
    )


def test_a_device_that_falls_silent_is_no_answer(bench: SimpleNamespace, talk: Talk) -> None:
    device = bench.ToyDevice()
    session = talk(lambda line: b"" if b"stack" in line else device.answer(line))
    session.hello()

    with pytest.raises(NoAnswer) as caught:
        session.stack()

    assert str(caught.value) == (
        "toy at 10,000,000 baud: no answer to `stack` in 3 tries, the last one 0.03 s long. "
        "Press reset on the board and try again."
    )
    assert caught.value.exit_code == 4


def test_other_firmware_is_shown(talk: Talk) -> None:
    with pytest.raises(WrongFirmware) as caught:
        talk(lambda line: b'Marlin 2.1 "ready"\r\necho:Unknown\r\n' if line else b"").hello(
            timeout_s=0.1
        )

    assert str(caught.value) == (
        "toy at 10,000,000 baud: something else than our firmware answers: "
        f'"Marlin 2.1 "ready" | echo:Unknown". {FLASH}'
    )
    assert caught.value.exit_code == 4


def test_a_prompt_without_a_newline_is_other_firmware(talk: Talk) -> None:
    with pytest.raises(WrongFirmware, match='answers: "login: "'):
        talk(lambda line: b"login: " if line else b"").hello(timeout_s=0.1)


def test_an_echo_is_told_from_a_device(talk: Talk) -> None:
    with pytest.raises(WrongFirmware) as caught:
        talk(lambda line: line + b"\n").hello(timeout_s=0.1)

    assert str(caught.value) == (
        "toy at 10,000,000 baud: whatever is there echoes what it is sent. Check that RX and TX "
        "are not joined, and that the port is not a modem."
    )


def test_another_baud_rate_is_guessed_from_bytes_that_are_no_text(talk: Talk) -> None:
    with pytest.raises(LinkCorrupt) as caught:
        talk(lambda line: b"\xf8\x80\xfe\x00\xe6\x9c\n" if line else b"").hello(timeout_s=0.1)

    assert str(caught.value) == (
        "toy at 10,000,000 baud: 7 bytes came that are no text. Most often that is another baud "
        "rate at the board's end; else check the ground wire."
    )


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("protocol", "2", "protocol=2 is not 1"),
        ("clock", "fast", "clock=fast is not a number"),
    ],
)
def test_another_version_of_the_protocol_is_wrong_firmware(
    bench: SimpleNamespace, talk: Talk, key: str, value: str, words: str
) -> None:
    device = bench.ToyDevice()
    device.values[key] = value

    with pytest.raises(WrongFirmware) as caught:
        talk(device.answer).hello()

    assert str(caught.value) == (f"toy: another version of the firmware answers: {words}. {FLASH}")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            {"board": "stm32vldiscovery"},
            "toy: runs the firmware of netduinoplus2, expected stm32vldiscovery. Check --board "
            "and --port, or flash it: shelfcast flash --board stm32vldiscovery.",
        ),
        ({"engine": 2}, f"toy: runs engine 1, this tool needs 2. {FLASH}"),
        ({"firmware": "9.9"}, f"toy: runs firmware 0.1.0, this tool needs 9.9. {FLASH}"),
    ],
)
def test_another_image_is_wrong_firmware(
    bench: SimpleNamespace, talk: Talk, wanted: dict[str, object], message: str
) -> None:
    with pytest.raises(WrongFirmware) as caught:
        talk(bench.ToyDevice().answer).expect(**wanted)

    assert str(caught.value) == message
    assert caught.value.exit_code == 4


def test_another_model_is_wrong_model(bench: SimpleNamespace, talk: Talk) -> None:
    with pytest.raises(WrongModel) as caught:
        talk(bench.ToyDevice().answer).expect(board="netduinoplus2", model_crc=0xC0FFEE)

    assert str(caught.value) == (f"toy: holds the model 5eed0001, expected 00c0ffee. {FLASH}")
    assert caught.value.exit_code == 4


def test_the_device_that_is_meant_is_accepted(bench: SimpleNamespace, talk: Talk) -> None:
    greeting = talk(bench.ToyDevice().answer).expect(
        board="netduinoplus2", model_crc=bench.MODEL_CRC, engine=1
    )

    assert greeting.model_crc == bench.MODEL_CRC


def test_a_damaged_answer_is_asked_for_again_and_executed_once(
    bench: SimpleNamespace, talk: Talk
) -> None:
    device = bench.ToyDevice()
    hits = iter([b"\xb0k", b"ok"])

    def reply(line: bytes) -> bytes:
        answer = bytes(device.answer(line))
        return answer.replace(b"ok", next(hits, b"ok"), 1) if b"step" in line else answer

    session = talk(reply)
    session.reset()
    outputs, _ = session.step(WINDOW[0])

    assert outputs is not None
    assert outputs[0] == bench.as_int8(bench.toy_forecast(WINDOW[0]))
    assert device.executed.count("step") == 1
    assert session.repeats == 1


def test_a_lost_answer_is_asked_for_again_and_executed_once(
    bench: SimpleNamespace, talk: Talk
) -> None:
    device = bench.ToyDevice()
    lost = [True]

    def reply(line: bytes) -> bytes:
        answer = bytes(device.answer(line))
        return b"" if b"run" in line and lost and lost.pop() else answer

    session = talk(reply)
    outputs, _ = session.forecast(WINDOW, timeout_s=0.05)

    assert outputs[0] == bench.as_int8(bench.toy_forecast(WINDOW))
    assert device.executed.count("run") == 1


def test_answers_that_stay_damaged_are_a_corrupt_link(bench: SimpleNamespace, talk: Talk) -> None:
    device = bench.ToyDevice()
    session = talk(
        lambda line: (
            device.answer(line).replace(b"used", b"u\x00ed")
            if b"stack" in line
            else device.answer(line)
        )
    )
    session.hello()

    with pytest.raises(LinkCorrupt) as caught:
        session.stack()

    assert str(caught.value) == (
        "toy at 10,000,000 baud: 3 of 3 tries at `stack` came back damaged. Check the ground "
        "wire, the cable's length, and that both ends use the same baud rate."
    )
    assert caught.value.exit_code == 4


def test_a_device_that_keeps_receiving_damage_is_a_corrupt_link(
    bench: SimpleNamespace, talk: Talk
) -> None:
    device = bench.ToyDevice()
    session = talk(lambda line: device.answer(line.replace(b"stack", b"st\x00ck")))
    session.hello()

    with pytest.raises(LinkCorrupt, match="3 of 3 tries at `stack` came back damaged"):
        session.stack()


def test_greetings_that_stay_damaged_are_a_corrupt_link(bench: SimpleNamespace, talk: Talk) -> None:
    device = bench.ToyDevice()
    with pytest.raises(LinkCorrupt) as caught:
        talk(lambda line: device.answer(line).replace(b"steps", b"st\x00ps")).hello(timeout_s=0.1)

    assert str(caught.value) == (
        "toy at 10,000,000 baud: 1 damaged line came in answer to 1 greeting. Check the ground "
        "wire, the cable's length, and that both ends use the same baud rate."
    )


@pytest.mark.parametrize("hurt", [b"", b"# shelfcast", b"ready "])
def test_a_restart_is_not_taken_for_an_answer(
    bench: SimpleNamespace, talk: Talk, hurt: bytes
) -> None:
    device = bench.ToyDevice()
    boot = b"# fault hard pc=0x08000abc\n" + device.restart()
    if hurt:
        boot = boot.replace(hurt, hurt.replace(b"a", b"\xe1"))
    session = talk(lambda line: boot if b"run" in line else device.answer(line))

    with pytest.raises(DeviceReset) as caught:
        session.forecast(WINDOW)

    message = str(caught.value)
    assert message.startswith("toy: the device restarted in the middle of the work. Its last words")
    assert "fault hard pc=0x08000abc" in message
    assert message.endswith("A fault or the watchdog, or its power is weak.")
    assert caught.value.exit_code == 4


def test_a_refusal_names_the_request_and_the_reason(bench: SimpleNamespace, talk: Talk) -> None:
    session = talk(bench.ToyDevice().answer)
    session.hello()

    with pytest.raises(DeviceRefused) as caught:
        session.request("load", 9000, "00" * 20)

    assert str(caught.value) == (
        "toy: refused `load 9000 000000000000...`: range: 20 values from 9000 end past the window."
    )
    assert caught.value.exit_code == 4


def test_what_was_executed_without_being_asked_for_is_not_ignored(
    bench: SimpleNamespace, talk: Talk
) -> None:
    device = bench.ToyDevice()
    session = talk(
        lambda line: sealed(b"ok step out=00 ticks=1") if b"step" in line else device.answer(line)
    )

    with pytest.raises(LinkCorrupt) as caught:
        session.step(WINDOW[0])

    assert str(caught.value) == (
        "toy: the device executed `step` without being asked to; its state is unknown. "
        "Check the ground wire and the cable."
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"ok run out=0102 ticks=9", "answers out=0102 ticks=9, but out= should be 1 byte in hex"),
        (b"ok run ticks=9", "answers ticks=9, but out= should be 1 byte in hex"),
        (b"ok run out=01 ticks=soon", "answers out=01 ticks=soon, but ticks= should be a number"),
    ],
)
def test_an_intact_answer_of_the_wrong_shape_is_wrong_firmware(
    bench: SimpleNamespace, talk: Talk, answer: bytes, message: str
) -> None:
    device = bench.ToyDevice()
    session = talk(
        lambda line: (
            sealed(line.split()[0] + b" " + answer) if b" run" in line else device.answer(line)
        )
    )

    with pytest.raises(WrongFirmware) as caught:
        session.forecast(WINDOW)

    assert str(caught.value) == f"toy: {message}. {FLASH}"


def test_a_port_that_goes_away_is_said_so(bench: SimpleNamespace) -> None:
    with bench.serving(bench.ToyDevice().answer) as port:
        session = Session(open_link(port, 115_200))
        session.hello()
    with session, pytest.raises(PortError) as caught:
        session.reset()

    assert re.fullmatch(
        re.escape(f"{port}: the port went away in the middle of the work: ")
        + "(the other side closed the connection|connection reset by peer|broken pipe)"
        + re.escape(". Check the cable, plug it in again, and repeat."),
        str(caught.value),
    )
    assert caught.value.exit_code == 4


def test_a_dead_emulator_is_named_before_its_silence_is(bench: SimpleNamespace, talk: Talk) -> None:
    def alive() -> None:
        raise EmulatorDied("it died.")

    with pytest.raises(EmulatorDied) as caught:
        talk(lambda line: b"", alive=alive).hello()

    assert caught.value.exit_code == 4


def test_a_dead_emulator_is_noticed_long_before_the_time_is_up(
    bench: SimpleNamespace, talk: Talk
) -> None:
    dead = time.monotonic() + 0.3

    def alive() -> None:
        if time.monotonic() > dead:
            raise EmulatorDied("it died.")

    device = bench.ToyDevice()
    session = talk(lambda line: b"" if b"run" in line else device.answer(line), alive=alive)
    with pytest.raises(EmulatorDied):
        session.forecast(WINDOW, timeout_s=30)

    assert time.monotonic() - dead < 2


def test_a_session_goes_over_a_pseudo_terminal(bench: SimpleNamespace) -> None:
    with (
        bench.on_a_pty(bench.ToyDevice().answer) as name,
        Session(open_link(name, 115_200)) as session,
    ):
        session.expect(board="netduinoplus2")
        outputs, _ = session.forecast(WINDOW)

    assert outputs[0] == bench.as_int8(bench.toy_forecast(WINDOW))


def test_a_second_host_at_a_pseudo_terminal_finds_the_device_as_it_is(
    bench: SimpleNamespace,
) -> None:
    with bench.on_a_pty(bench.ToyDevice().answer) as name:
        for _ in range(2):
            with Session(open_link(name, 115_200)) as session:
                outputs, _ = session.forecast(WINDOW)
                assert outputs[0] == bench.as_int8(bench.toy_forecast(WINDOW))


# Whatever a cable does to the bytes, a wrong value never comes out.


def one_conversation(session: Session) -> list[int]:
    """Exercise everything; return the numbers that came back."""
    session.hello(timeout_s=1.0)
    seen = []
    for keep in (False, True):
        outputs, ticks = session.forecast(WINDOW, keep=keep, timeout_s=QUICK_S)
        seen += [int(outputs[0]), ticks]
    session.reset()
    for sample in WINDOW[:2]:
        outputs_, ticks = session.step(sample, timeout_s=QUICK_S)
        assert outputs_ is not None
        seen += [int(outputs_[0]), ticks]
    hidden, cells = session.state(0)
    return [*seen, *hidden.tolist(), *cells.tolist(), *session.read_input().ravel().tolist()]


@pytest.mark.parametrize("seed", range(60))
def test_noise_gives_the_right_values_or_an_error_of_the_link(
    bench: SimpleNamespace, seed: int
) -> None:
    right = one_conversation(Session(bench.direct_link(bench.DirectPort(bench.ToyDevice().answer))))
    level = 0.0004 * (1 + seed % 6)
    noise = [
        bench.Noise(
            seed * 2 + way,
            flip=level,
            drop=level,
            lose_line=10 * level,
            repeat_line=20 * level,
            garbage=10 * level,
        )
        for way in (0, 1)
    ]
    port = bench.DirectPort(bench.ToyDevice().answer, there=noise[0], back=noise[1])
    session = Session(bench.direct_link(port), timeout_s=QUICK_S)
    with suppress(LinkCorrupt, NoAnswer):
        assert one_conversation(session) == right


def test_a_bad_cable_over_tcp_costs_repeats_not_values(bench: SimpleNamespace) -> None:
    noise = {"flip": 0.001, "drop": 0.001, "lose_line": 0.01, "repeat_line": 0.05}
    with (
        bench.serving(bench.ToyDevice().answer) as port,
        bench.proxying(port, bench.Noise(1, **noise), bench.Noise(2, **noise)) as bad,
        Session(open_link(bad, 10_000_000), timeout_s=0.2, tries=8) as session,
    ):
        for _ in range(20):
            outputs, _ = session.forecast(WINDOW, timeout_s=0.2)
            assert outputs[0] == bench.as_int8(bench.toy_forecast(WINDOW))
        assert session.repeats > 0
