// The UART of the nRF51 and the nRF52. nRF51 Series Reference Manual 3.0 ("RM"); other sections are
// of the nRF52840 Product Specification v1.1.

#include "nrf_uart.h"

#include "port.h"

// RM 29, 6.33: UART. On an nRF52 it shares address and pins with UARTE, and needs no buffer in RAM.
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

// RM 29, 6.33.10, BAUDRATE: 2^32 times baud over 16 MHz, in steps of 2^12.
#define PORT_BAUDRATE                                                                              \
    ((uint32_t)((((uint64_t)BOARD_UART_BAUD << 32) / 16000000u + 0x800u) & 0xfffff000u))
#if BOARD_UART_BAUD > 1000000u
#error "uart.baud must be at most 1000000."
#endif

// Turns of a waiting loop: some 100 ms for a byte.
#define PORT_BYTE_PATIENCE (BOARD_CLOCK_HZ / 80u)

void port_stop_uart(void) {
    PORT_UART_ENABLE = 0;
    PORT_UART_INTENCLR = 0xffffffffu;
}

void port_start_uart(void) {
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
    // Cleared before the byte is taken: taking it brings the event of the next (RM 29, 6.33.5).
    // Read back, so that the event is down before the interrupt ends: an nRF52 needs that (6.1.8).
    if (PORT_UART_RXDRDY != 0) {
        PORT_UART_RXDRDY = 0;
        (void)PORT_UART_RXDRDY;
        queue_put(&port_received, (uint8_t)PORT_UART_RXD);
    }
}

void port_put(uint8_t byte) {
    PORT_UART_TXDRDY = 0;
    PORT_UART_TXD = byte;
    port_awaits(&PORT_UART_TXDRDY, PORT_BYTE_PATIENCE);
}
