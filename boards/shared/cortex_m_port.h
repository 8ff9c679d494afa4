// What the ports of all Cortex-M families have in common: registers, waiting, and the way of the
// received bytes from the UART's interrupt to port_get, which is in cortex_m_port.c.

#ifndef SHELFCAST_CORTEX_M_PORT_H
#define SHELFCAST_CORTEX_M_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

// ARM DDI 0403 B3.4, DDI 0419 B3.4, DDI 0553 D1.2: the interrupt controller.
#define PORT_NVIC_ISER PORT_REGISTER(0xe000e100u + 4u * (BOARD_UART_IRQ / 32u))
#define PORT_NVIC_ICER PORT_REGISTER(0xe000e180u + 4u * (BOARD_UART_IRQ / 32u))
#define PORT_NVIC_BIT (1u << (BOARD_UART_IRQ % 32u))

// Turns of a waiting loop: some 10 ms at 64 MHz and 200 ms at 4 MHz, for what takes 2 at most; some
// 100 ms for a byte.
#define PORT_PATIENCE 100000u
#define PORT_SEND_PATIENCE (BOARD_CLOCK_HZ / 10u)

// What the interrupt puts here, port_get takes. An interrupt that finds no room leaves the byte in
// the UART and turns itself off in PORT_NVIC_ICER; port_get turns it on again.
extern queue_t port_received;

// Wait until (*address & mask) == value. Returns false when it never is.
static inline bool port_waits(volatile uint32_t *address, uint32_t mask, uint32_t value) {
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if ((*address & mask) == value) {
            return true;
        }
    }
    return false;
}

#endif
