// A board with an AVR on libsimavr: programmed through one socket, its USART0 on another.
//
//     simavr_runner MCU CLOCK_HZ CONTROL SERIAL
//
// CONTROL is the file descriptor of a connected socket, SERIAL of one that listens. Commands on
// CONTROL, numbers are 32 bits, little-endian:
//
//     W address length bytes...   write flash
//     R address length            read flash: answered with as many bytes
//     E address length bytes...   write the EEPROM
//     G                           let the chip run, from a reset
//     X                           after G: cut the power, answered with all of the EEPROM; the end
//
// It ends when CONTROL does, which is when the process that started it ends, however that ends.
// While nobody is connected, what the chip sends is lost, as on a cable that is not plugged in.
//
// Time: the chip runs as fast as this machine can, and cycles are exact. A chip that sleeps and has
// nothing to receive sleeps here, too.

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <simavr/avr_eeprom.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RUNNER_UCSR0B 0xc1  // of ATmega; bit 4: the receiver is on
#define RUNNER_RXEN 0x10
#define RUNNER_POLL_CYCLES 8000u  // between looks at the sockets
#define RUNNER_NAP_MS 4
#define RUNNER_QUIET_MS 20  // of the chip's time: bytes on their way are not slept on

static avr_t *runner_avr;
static int runner_control;
static int runner_listener;
static int runner_client = -1;
static avr_irq_t *runner_input;

static uint8_t runner_received[4096];  // from the client, not yet in the chip
static size_t runner_received_count;
static size_t runner_received_next;
static bool runner_room;  // the chip takes bytes

static uint8_t runner_sent[4096];  // from the chip, not yet at the client
static size_t runner_sent_count;

static avr_cycle_count_t runner_busy;    // when a byte went either way for the last time
static avr_cycle_count_t runner_napped;  // cycles slept since the last wait
static avr_cycle_count_t runner_next_poll;

static void runner_fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

// The emulator's errors are the runner's last words; the rest it has to say is not wanted.
static void runner_log(avr_t *avr, const int level, const char *format, va_list arguments) {
    (void)avr;
    if (level <= LOG_ERROR) {
        vfprintf(stderr, format, arguments);
    }
}

// Take exactly `count` bytes from the control socket; its end is ours.
static void runner_read(void *bytes, size_t count) {
    if (count > 0) {
        const ssize_t got = recv(runner_control, bytes, count, MSG_WAITALL);
        if (got < 0) {
            runner_fail("control");
        }
        if ((size_t)got < count) {
            exit(0);
        }
    }
}

// Send all bytes. Returns false when the other side is gone.
static bool runner_write(int descriptor, const uint8_t *bytes, size_t count) {
    while (count > 0) {
        const ssize_t gone = send(descriptor, bytes, count, MSG_NOSIGNAL);
        if (gone < 0) {
            return false;
        }
        bytes += gone;
        count -= (size_t)gone;
    }
    return true;
}

static uint32_t runner_read_number(void) {
    uint8_t bytes[4];
    runner_read(bytes, sizeof bytes);
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

// The chip's EEPROM itself, e2end + 1 bytes.
static uint8_t *runner_eeprom(void) {
    avr_eeprom_desc_t where = {.ee = NULL, .offset = 0, .size = 1};
    avr_ioctl(runner_avr, AVR_IOCTL_EEPROM_GET, &where);  // -1 though it answers
    if (where.ee == NULL) {
        fprintf(stderr, "%s has no EEPROM here\n", runner_avr->mmcu);
        exit(1);
    }
    return where.ee;
}

static void runner_program(void) {
    for (;;) {
        char command;
        runner_read(&command, 1);
        if (command == 'G') {
            return;
        }
        const uint32_t address = runner_read_number();
        const uint32_t length = runner_read_number();
        const bool eeprom = command == 'E';
        const uint32_t size = (eeprom ? runner_avr->e2end : (uint32_t)runner_avr->flashend) + 1u;
        if ((command != 'W' && command != 'R' && !eeprom) || length > size ||
            address > size - length) {
            fprintf(stderr, "%c %u %u: the memory has %u bytes\n", command, (unsigned)address,
                    (unsigned)length, (unsigned)size);
            exit(1);
        }
        uint8_t *const memory = (eeprom ? runner_eeprom() : runner_avr->flash) + address;
        if (command != 'R') {
            runner_read(memory, length);
        } else if (!runner_write(runner_control, memory, length)) {
            exit(0);
        }
    }
}

// The control socket has ended, or somebody pulls the plug.
static void runner_end(void) {
    char command;
    runner_read(&command, 1);
    if (command == 'X') {
        runner_write(runner_control, runner_eeprom(), runner_avr->e2end + 1u);
    }
    exit(0);
}

static void runner_hang_up(void) {
    close(runner_client);
    runner_client = -1;
    runner_received_count = 0;
    runner_received_next = 0;
    runner_sent_count = 0;
}

// Hand on what the chip sent; waits until the client takes it.
static void runner_flush(void) {
    if (runner_client >= 0 && !runner_write(runner_client, runner_sent, runner_sent_count)) {
        runner_hang_up();
    }
    runner_sent_count = 0;
}

// Give the chip what it has room for. A byte for a receiver that is off would be lost.
static void runner_feed(void) {
    while (runner_received_next < runner_received_count && runner_room &&
           (runner_avr->data[RUNNER_UCSR0B] & RUNNER_RXEN) != 0) {
        runner_busy = runner_avr->cycle;
        avr_raise_irq(runner_input, runner_received[runner_received_next++]);
    }
}

// Look for a new client, bytes from the one there is, and the end of the control socket.
static void runner_exchange(int timeout_ms) {
    runner_flush();
    runner_next_poll = runner_avr->cycle + RUNNER_POLL_CYCLES;
    const bool wants = runner_received_next == runner_received_count;
    struct pollfd files[2] = {
        {.fd = runner_control, .events = POLLIN},
        {.fd = runner_client < 0 ? runner_listener
               : wants           ? runner_client
                                 : -1,
         .events = POLLIN},
    };
    if (poll(files, 2, timeout_ms) <= 0) {
        return;
    }
    if (files[0].revents != 0) {
        runner_end();
    }
    if (files[1].revents == 0) {
        return;
    }
    if (runner_client < 0) {
        runner_client = accept(runner_listener, NULL, NULL);
        // A line leaves at once, instead of waiting for more.
        const int yes = 1;
        setsockopt(runner_client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        return;
    }
    const ssize_t got = recv(runner_client, runner_received, sizeof runner_received, 0);
    if (got <= 0) {
        runner_hang_up();
        return;
    }
    runner_received_count = (size_t)got;
    runner_received_next = 0;
}

// Called while the chip sleeps until its next timer event, `cycles` from now.
static void runner_sleep(avr_t *avr, avr_cycle_count_t cycles) {
    runner_napped += cycles;
    const avr_cycle_count_t ms = avr->frequency / 1000u;
    if (avr->cycle - runner_busy > RUNNER_QUIET_MS * ms && runner_napped > RUNNER_NAP_MS * ms) {
        runner_napped = 0;
        runner_exchange(RUNNER_NAP_MS);
    }
}

static void runner_on_output(avr_irq_t *irq, uint32_t value, void *unused) {
    (void)irq;
    (void)unused;
    runner_busy = runner_avr->cycle;
    if (runner_client >= 0) {
        runner_sent[runner_sent_count++] = (uint8_t)value;
        if (value == '\n' || runner_sent_count == sizeof runner_sent) {
            runner_flush();
        }
    }
}

static void runner_on_room(avr_irq_t *irq, uint32_t value, void *unused) {
    (void)irq;
    (void)unused;
    if (value != 0) {
        runner_room = true;
    }
}

static void runner_on_full(avr_irq_t *irq, uint32_t value, void *unused) {
    (void)irq;
    (void)unused;
    if (value != 0) {
        runner_room = false;
    }
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "usage: simavr_runner MCU CLOCK_HZ CONTROL SERIAL\n");
        return 2;
    }
    avr_global_logger_set(runner_log);
    runner_avr = avr_make_mcu_by_name(arguments[1]);
    if (runner_avr == NULL || avr_init(runner_avr) != 0) {
        return 1;
    }
    runner_avr->frequency = (uint32_t)strtoul(arguments[2], NULL, 10);
    runner_avr->sleep = runner_sleep;
    runner_control = (int)strtol(arguments[3], NULL, 10);
    runner_listener = (int)strtol(arguments[4], NULL, 10);

    uint32_t flags = 0;  // no copy of the lines on stdout
    avr_ioctl(runner_avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    const uint32_t uart = AVR_IOCTL_UART_GETIRQ('0');
    runner_input = avr_io_getirq(runner_avr, uart, UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(runner_avr, uart, UART_IRQ_OUTPUT), runner_on_output,
                            NULL);
    avr_irq_register_notify(avr_io_getirq(runner_avr, uart, UART_IRQ_OUT_XON), runner_on_room,
                            NULL);
    avr_irq_register_notify(avr_io_getirq(runner_avr, uart, UART_IRQ_OUT_XOFF), runner_on_full,
                            NULL);

    runner_program();
    runner_exchange(0);  // who has connected by now hears the first byte
    for (;;) {
        // Up to the next timer event. A reset sets the limit back to 1.
        runner_avr->run_cycle_limit = RUNNER_POLL_CYCLES;
        const int state = avr_run(runner_avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            fprintf(stderr, "the chip stopped at 0x%05x\n", (unsigned)runner_avr->pc);
            return 1;
        }
        if (runner_avr->cycle >= runner_next_poll && state == cpu_Running) {
            runner_exchange(0);
        }
        runner_feed();
    }
}
