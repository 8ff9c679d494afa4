// ARM's PL011. Sections are of the data sheets of the LM3S6965, the RP2040 and the RP2350.

#include "pl011.h"

#include "port.h"

#define PORT_FR_RXFE (1u << 4)
#define PORT_FR_TXFF (1u << 5)
#define PORT_LCR_8N1_FIFO 0x70u
#define PORT_CR_ON 0x301u             // UARTEN, TXE, RXE
#define PORT_IMSC_RECEIVED (5u << 4)  // RXIM: the FIFO fills; RTIM: none came for 32 bits' time

void port_start_uart(uint32_t hz) {
    // 16 samples a bit, and the divider in 64ths. It is taken over by writing LCR_H (LM3S6965 12,
    // RP2040 4.2.7.1, RP2350 12.1.7.1).
    const uint32_t divider = (4u * hz + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD;
    PORT_UART_IBRD = divider / 64u;
    PORT_UART_FBRD = divider % 64u;
    PORT_UART_LCR_H = PORT_LCR_8N1_FIFO;
    PORT_UART_CR = PORT_CR_ON;
    PORT_UART_IMSC = PORT_IMSC_RECEIVED;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    // Both interrupts end when the UART's own queue is empty (LM3S6965 12).
    while ((PORT_UART_FR & PORT_FR_RXFE) == 0) {
        if (queue_is_full(&port_received)) {
            // Leave the bytes where they are until port_get made room: a sender that can wait,
            // waits. The UART goes on asking, so it is not listened to until then.
            PORT_NVIC_ICER = PORT_NVIC_BIT;
            return;
        }
        queue_put(&port_received, (uint8_t)PORT_UART_DR);
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_UART_FR & PORT_FR_TXFF) == 0) {
            break;
        }
    }
    PORT_UART_DR = byte;
}
