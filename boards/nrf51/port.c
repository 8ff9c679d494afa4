// nRF51: clock, serial port and the counter behind the ticks. nRF51 Series Reference Manual 3.0.
//
// The core has no SysTick, so a timer counts: all 32 bits of TIMER0, at the core's 16 MHz.

#include "port.h"

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

// nRF51 RM 13: clocks.
#define PORT_CLOCK_HFCLKSTART PORT_REGISTER(0x40000000u)
#define PORT_CLOCK_HFCLKSTARTED PORT_REGISTER(0x40000100u)

// nRF51 RM 14: pins.
#define PORT_GPIO_OUTSET PORT_REGISTER(0x50000508u)
#define PORT_GPIO_PIN_CNF(pin) PORT_REGISTER(0x50000700u + 4u * (pin))
#define PORT_PIN_OUTPUT 3u       // an output whose input buffer is off
#define PORT_PIN_PULLED_UP 0xcu  // an input: an idle line is high

// nRF51 RM 29: UART.
#define PORT_UART_STARTRX PORT_REGISTER(BOARD_UART_BASE + 0x000u)
#define PORT_UART_STARTTX PORT_REGISTER(BOARD_UART_BASE + 0x008u)
#define PORT_UART_RXDRDY PORT_REGISTER(BOARD_UART_BASE + 0x108u)
#define PORT_UART_TXDRDY PORT_REGISTER(BOARD_UART_BASE + 0x11cu)
#define PORT_UART_INTENSET PORT_REGISTER(BOARD_UART_BASE + 0x304u)
#define PORT_UART_ENABLE PORT_REGISTER(BOARD_UART_BASE + 0x500u)
#define PORT_UART_PSELTXD PORT_REGISTER(BOARD_UART_BASE + 0x50cu)
#define PORT_UART_PSELRXD PORT_REGISTER(BOARD_UART_BASE + 0x514u)
#define PORT_UART_RXD PORT_REGISTER(BOARD_UART_BASE + 0x518u)
#define PORT_UART_TXD PORT_REGISTER(BOARD_UART_BASE + 0x51cu)
#define PORT_UART_BAUDRATE PORT_REGISTER(BOARD_UART_BASE + 0x524u)
#define PORT_UART_ENABLED 4u
#define PORT_UART_INT_RXDRDY (1u << 2)

// nRF51 RM 18: timer.
#define PORT_TIMER_START PORT_REGISTER(0x40008000u)
#define PORT_TIMER_CLEAR PORT_REGISTER(0x4000800cu)
#define PORT_TIMER_CAPTURE0 PORT_REGISTER(0x40008040u)
#define PORT_TIMER_BITMODE PORT_REGISTER(0x40008508u)
#define PORT_TIMER_PRESCALER PORT_REGISTER(0x40008510u)
#define PORT_TIMER_CC0 PORT_REGISTER(0x40008540u)
#define PORT_BITMODE_32 3u

// ARM DDI 0419 B3.4: the interrupt controller.
#define PORT_NVIC_ISER PORT_REGISTER(0xe000e100u)
#define PORT_NVIC_ICER PORT_REGISTER(0xe000e180u)
#define PORT_NVIC_BIT (1u << BOARD_UART_IRQ)

#if BOARD_CLOCK_HZ != 16000000u
#error "clock_hz must be 16000000: an nRF51 runs at 16 MHz and nothing else."
#endif

// nRF51 RM 29, BAUDRATE: 2^32 times baud over 16 MHz, in steps of 2^12.
#define PORT_BAUDRATE                                                                              \
    ((uint32_t)((((uint64_t)BOARD_UART_BAUD << 32) / 16000000u + 0x800u) & 0xfffff000u))
#if BOARD_UART_BAUD > 1000000u
#error "uart.baud must be at most 1000000."
#endif

// Turns of a waiting loop: some 30 ms for the crystal, which takes 1; some 100 ms for a byte.
#define PORT_PATIENCE 50000u
#define PORT_SEND_PATIENCE 200000u

static queue_t port_received;

// Wait for an event. Bounded: it may never come.
static void port_awaits(volatile uint32_t *event, uint32_t patience) {
    for (uint32_t turns = patience; turns > 0 && *event == 0; turns--) {
    }
}

void port_init(void) {
    // Without the crystal the internal oscillator goes on: 16 MHz too, right to some percent.
    PORT_CLOCK_HFCLKSTARTED = 0;
    PORT_CLOCK_HFCLKSTART = 1;
    port_awaits(&PORT_CLOCK_HFCLKSTARTED, PORT_PATIENCE);
    PORT_GPIO_OUTSET = 1u << BOARD_UART_TX_PIN;
    PORT_GPIO_PIN_CNF(BOARD_UART_TX_PIN) = PORT_PIN_OUTPUT;
    PORT_GPIO_PIN_CNF(BOARD_UART_RX_PIN) = PORT_PIN_PULLED_UP;
    PORT_UART_PSELTXD = BOARD_UART_TX_PIN;
    PORT_UART_PSELRXD = BOARD_UART_RX_PIN;
    PORT_UART_BAUDRATE = PORT_BAUDRATE;
    PORT_UART_ENABLE = PORT_UART_ENABLED;
    PORT_UART_INTENSET = PORT_UART_INT_RXDRDY;
    PORT_UART_STARTTX = 1;
    PORT_UART_STARTRX = 1;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
    PORT_TIMER_BITMODE = PORT_BITMODE_32;
    PORT_TIMER_PRESCALER = 0;
    PORT_TIMER_START = 1;
}

void port_interrupt(void) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room; the UART has room for 5 more.
        PORT_NVIC_ICER = PORT_NVIC_BIT;
        return;
    }
    // Cleared before the byte is taken: taking it brings the event of the next (RM 29).
    if (PORT_UART_RXDRDY != 0) {
        PORT_UART_RXDRDY = 0;
        queue_put(&port_received, (uint8_t)PORT_UART_RXD);
    }
}

void port_put(uint8_t byte) {
    PORT_UART_TXDRDY = 0;
    PORT_UART_TXD = byte;
    port_awaits(&PORT_UART_TXDRDY, PORT_SEND_PATIENCE);
}

int port_get(void) {
    // Held off, an interrupt still ends the sleep: a byte that comes just now isn't slept through.
    __asm__ volatile("cpsid i" ::: "memory");
    if (queue_is_empty(&port_received)) {
        __asm__ volatile("dsb\nwfi");
    }
    __asm__ volatile("cpsie i\nisb" ::: "memory");
    if (queue_is_empty(&port_received)) {
        return -1;
    }
    const uint8_t byte = queue_take(&port_received);
    PORT_NVIC_ISER = PORT_NVIC_BIT;
    return byte;
}

uint32_t port_clock_hz(void) {
    return BOARD_CLOCK_HZ;
}

void port_start_ticks(void) {
    PORT_TIMER_CLEAR = 1;
}

uint32_t port_ticks(void) {
    PORT_TIMER_CAPTURE0 = 1;
    return PORT_TIMER_CC0;
}
