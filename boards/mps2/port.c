// Arm's MPS2 and MPS3 FPGA boards: serial port. ARM DDI 0479 is the manual of the Cortex-M System
// Design Kit, which the UART is from; an application note describes each image (DAI 0386, 0500,
// 0505, 0547). Nothing sets the clock here: the image comes up running.

#include "port.h"

#include "cortex_m_port.h"

// DDI 0479 4.3: APB UART.
#define PORT_UART_DATA PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_UART_STATE PORT_REGISTER(BOARD_UART_BASE + 0x04u)
#define PORT_UART_CTRL PORT_REGISTER(BOARD_UART_BASE + 0x08u)
#define PORT_UART_INTCLEAR PORT_REGISTER(BOARD_UART_BASE + 0x0cu)
#define PORT_UART_BAUDDIV PORT_REGISTER(BOARD_UART_BASE + 0x10u)
#define PORT_STATE_TXFULL (1u << 0)
#define PORT_STATE_RXFULL (1u << 1)
#define PORT_CTRL_TXEN (1u << 0)
#define PORT_CTRL_RXEN (1u << 1)
#define PORT_CTRL_RXIE (1u << 3)
#define PORT_INT_RX (1u << 1)

// DDI 0479 4.3: clock cycles per bit, at least 16.
#define PORT_BAUDDIV ((BOARD_UART_CLOCK_HZ + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD)
#if PORT_BAUDDIV < 16u
#error "uart.baud must be at most BOARD_UART_CLOCK_HZ / 16."
#endif

void port_init(void) {
    // The divider first: with less than 16 in it the UART is off.
    PORT_UART_BAUDDIV = PORT_BAUDDIV;
    PORT_UART_CTRL = PORT_CTRL_TXEN | PORT_CTRL_RXEN | PORT_CTRL_RXIE;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room: a sender that can wait, waits.
        PORT_NVIC_ICER = PORT_NVIC_BIT;
        return;
    }
    // Cleared before the byte is taken: taking it makes room for the next, which asks again.
    PORT_UART_INTCLEAR = PORT_INT_RX;
    if ((PORT_UART_STATE & PORT_STATE_RXFULL) != 0) {
        queue_put(&port_received, (uint8_t)PORT_UART_DATA);
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_UART_STATE & PORT_STATE_TXFULL) == 0) {
            break;
        }
    }
    PORT_UART_DATA = byte;
}

uint32_t port_clock_hz(void) {
    return BOARD_CLOCK_HZ;
}
