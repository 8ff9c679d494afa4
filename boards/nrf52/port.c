// nRF52833 and nRF52840: clock and serial port. Sections are of Nordic's nRF52840 Product
// Specification v1.1; what is used here is the same on the nRF52833, at the same addresses.

#include "port.h"

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

// 4.5 FICR: the chip's kind and revision, as Nordic's start-up code (MDK) tells revisions apart.
#define PORT_FICR_KIND PORT_REGISTER(0x10000130u)
#define PORT_FICR_REVISION PORT_REGISTER(0x10000134u)
#define PORT_KIND_NRF52840 0x08u
#define PORT_KIND_NRF52833 0x0du

// 4.6 UICR; nRF52833 Product Specification 4.8, "Access port protection".
#define PORT_UICR_APPROTECT PORT_REGISTER(0x10001208u)
#define PORT_APPROTECT_DISABLE PORT_REGISTER(0x40000558u)

// 4.3 NVMC.
#define PORT_NVMC_ICACHECNF PORT_REGISTER(0x4001e540u)
#define PORT_ICACHE_ENABLED 1u

// 5.4 CLOCK.
#define PORT_CLOCK_HFCLKSTART PORT_REGISTER(0x40000000u)
#define PORT_CLOCK_HFCLKSTARTED PORT_REGISTER(0x40000100u)

// 6.9 GPIO: 32 pins in port 0, the others in port 1. Pin P1.03 is number 35.
#define PORT_GPIO(pin) (0x50000000u + 0x300u * ((pin) / 32u))
#define PORT_GPIO_OUTSET(pin) PORT_REGISTER(PORT_GPIO(pin) + 0x508u)
#define PORT_GPIO_PIN_CNF(pin) PORT_REGISTER(PORT_GPIO(pin) + 0x700u + 4u * ((pin) % 32u))
#define PORT_PIN_OUTPUT 3u       // an output whose input buffer is off
#define PORT_PIN_PULLED_UP 0xcu  // an input: an idle line is high

// 6.33 UART. It shares address and pins with UARTE, and needs no buffer in RAM.
#define PORT_UART_STARTRX PORT_REGISTER(BOARD_UART_BASE + 0x000u)
#define PORT_UART_STARTTX PORT_REGISTER(BOARD_UART_BASE + 0x008u)
#define PORT_UART_RXDRDY PORT_REGISTER(BOARD_UART_BASE + 0x108u)
#define PORT_UART_TXDRDY PORT_REGISTER(BOARD_UART_BASE + 0x11cu)
#define PORT_UART_INTENSET PORT_REGISTER(BOARD_UART_BASE + 0x304u)
#define PORT_UART_INTENCLR PORT_REGISTER(BOARD_UART_BASE + 0x308u)
#define PORT_UART_ENABLE PORT_REGISTER(BOARD_UART_BASE + 0x500u)
#define PORT_UART_PSELTXD PORT_REGISTER(BOARD_UART_BASE + 0x50cu)
#define PORT_UART_PSELRXD PORT_REGISTER(BOARD_UART_BASE + 0x514u)
#define PORT_UART_RXD PORT_REGISTER(BOARD_UART_BASE + 0x518u)
#define PORT_UART_TXD PORT_REGISTER(BOARD_UART_BASE + 0x51cu)
#define PORT_UART_BAUDRATE PORT_REGISTER(BOARD_UART_BASE + 0x524u)
#define PORT_UART_ENABLED 4u
#define PORT_UART_INT_RXDRDY (1u << 2)

// ARM DDI 0403 B3.4: the interrupt controller.
#define PORT_NVIC_ISER PORT_REGISTER(0xe000e100u)
#define PORT_NVIC_ICER PORT_REGISTER(0xe000e180u)
#define PORT_NVIC_BIT (1u << BOARD_UART_IRQ)

#if BOARD_UART_BASE != 0x40002000u || BOARD_UART_IRQ != 2u
#error "uart.base must be 0x40002000 and BOARD_UART_IRQ 2: an nRF52 has one UART."
#endif
#if BOARD_UART_TX_PIN > 47u || BOARD_UART_RX_PIN > 47u
#error "BOARD_UART_TX_PIN and BOARD_UART_RX_PIN are 32 times the port and the pin, at most 47."
#endif
#if BOARD_CLOCK_HZ != 64000000u
#error "clock_hz must be 64000000: an nRF52 runs at 64 MHz and nothing else."
#endif

// 6.33.10, BAUDRATE: 2^32 times baud over 16 MHz, in steps of 2^12.
#define PORT_BAUDRATE                                                                              \
    ((uint32_t)((((uint64_t)BOARD_UART_BAUD << 32) / 16000000u + 0x800u) & 0xfffff000u))
#if BOARD_UART_BAUD > 1000000u
#error "uart.baud must be at most 1000000."
#endif

// Turns of a waiting loop: some 30 ms for the crystal, which takes less than 1; some 100 ms for a
// byte.
#define PORT_PATIENCE 200000u
#define PORT_SEND_PATIENCE 640000u

static queue_t port_received;

// Wait for an event. Bounded: it may never come.
static void port_awaits(volatile uint32_t *event, uint32_t patience) {
    for (uint32_t turns = patience; turns > 0 && *event == 0; turns--) {
    }
}

// From these revisions on, a debug probe is locked out after every reset until the firmware opens
// its half of the lock, as UICR asks for (Nordic's IN-142).
static void port_open_debug_port(void) {
    const uint32_t kind = PORT_FICR_KIND;
    const uint32_t revision = PORT_FICR_REVISION;
    if ((kind == PORT_KIND_NRF52840 && revision >= 5u) ||
        (kind == PORT_KIND_NRF52833 && revision >= 1u)) {
        PORT_APPROTECT_DISABLE = PORT_UICR_APPROTECT;
    }
}

void port_init(void) {
    // A boot loader may have left any interrupt on, and the UART, too.
    PORT_REGISTER(0xe000e180u) = 0xffffffffu;
    PORT_REGISTER(0xe000e184u) = 0xffffffffu;
    PORT_UART_ENABLE = 0;
    PORT_UART_INTENCLR = 0xffffffffu;
    port_open_debug_port();
    PORT_NVMC_ICACHECNF = PORT_ICACHE_ENABLED;
    // Without the crystal the internal oscillator goes on: 64 MHz too, right to some percent.
    PORT_CLOCK_HFCLKSTARTED = 0;
    PORT_CLOCK_HFCLKSTART = 1;
    port_awaits(&PORT_CLOCK_HFCLKSTARTED, PORT_PATIENCE);
    PORT_GPIO_OUTSET(BOARD_UART_TX_PIN) = 1u << (BOARD_UART_TX_PIN % 32u);
    PORT_GPIO_PIN_CNF(BOARD_UART_TX_PIN) = PORT_PIN_OUTPUT;
    PORT_GPIO_PIN_CNF(BOARD_UART_RX_PIN) = PORT_PIN_PULLED_UP;
    PORT_UART_PSELTXD = BOARD_UART_TX_PIN;
    PORT_UART_PSELRXD = BOARD_UART_RX_PIN;
    PORT_UART_BAUDRATE = PORT_BAUDRATE;
    PORT_UART_RXDRDY = 0;
    PORT_UART_ENABLE = PORT_UART_ENABLED;
    PORT_UART_INTENSET = PORT_UART_INT_RXDRDY;
    PORT_UART_STARTTX = 1;
    PORT_UART_STARTRX = 1;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room; the UART has room for 5 more.
        PORT_NVIC_ICER = PORT_NVIC_BIT;
        return;
    }
    // Cleared before the byte is taken: taking it brings the event of the next (6.33.5). Read back,
    // so that the event is down before the interrupt ends (6.1.8).
    if (PORT_UART_RXDRDY != 0) {
        PORT_UART_RXDRDY = 0;
        (void)PORT_UART_RXDRDY;
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
