// Pins of the STM32F2, F4, F7, H7 and L4: RM0090 8.4, RM0410 6.4, RM0433 11.4, RM0351 8.4.

#ifndef SHELFCAST_STM32_PINS_H
#define SHELFCAST_STM32_PINS_H

#include "cortex_m_port.h"

#define PORT_GPIO_MODER PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x00u)
#define PORT_GPIO_PUPDR PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x0cu)
#define PORT_GPIO_AFR(pin) PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x20u + 4u * ((pin) / 8u))

// Give a pin to the USART.
static inline void port_start_pin(uint32_t pin) {
    const uint32_t nibble = 4u * (pin % 8u);
    PORT_GPIO_AFR(pin) = (PORT_GPIO_AFR(pin) & ~(15u << nibble)) | BOARD_UART_AF << nibble;
    PORT_GPIO_PUPDR =
        (PORT_GPIO_PUPDR & ~(3u << 2u * pin)) | 1u << 2u * pin;  // an idle line is high
    PORT_GPIO_MODER = (PORT_GPIO_MODER & ~(3u << 2u * pin)) | 2u << 2u * pin;
}

#endif
