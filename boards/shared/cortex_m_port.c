// Received bytes, on every Cortex-M.

#include "cortex_m_port.h"

#include "port.h"

queue_t port_received;

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
