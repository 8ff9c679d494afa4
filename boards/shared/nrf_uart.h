// The UART of the nRF51 and the nRF52, and their way of waiting.

#ifndef SHELFCAST_NRF_UART_H
#define SHELFCAST_NRF_UART_H

#include "cortex_m_port.h"

// Wait for an event. Bounded: it may never come.
static inline void port_awaits(volatile uint32_t *event, uint32_t patience) {
    for (uint32_t turns = patience; turns > 0 && *event == 0; turns--) {
    }
}

// Turn the UART off, with its interrupts.
void port_stop_uart(void);

// Send and receive at BOARD_UART_BAUD, through pins that are set up.
void port_start_uart(void);

#endif
