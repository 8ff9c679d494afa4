// The USART of the STM32 families: stm32_usart_v1.c or stm32_usart_v2.c.

#ifndef SHELFCAST_STM32_USART_H
#define SHELFCAST_STM32_USART_H

#include <stdint.h>

// Send and receive at BOARD_UART_BAUD. The USART's bus, which clocks it, runs at bus_hz.
void port_start_usart(uint32_t bus_hz);

#endif
