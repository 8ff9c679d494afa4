// Which bus the USART of an STM32F1 or L4 is on (RM0041 2.3, 6.3.7, 6.3.8; RM0351 6.4), its bit
// there, and its interrupt.

#ifndef SHELFCAST_STM32_USART123_H
#define SHELFCAST_STM32_USART123_H

#include "board.h"

#if BOARD_UART_BASE == 0x40013800u  // USART1
#define PORT_UART_APB2 1
#define PORT_UART_BIT 14u
#define PORT_UART_IRQ 37u
#elif BOARD_UART_BASE == 0x40004400u  // USART2
#define PORT_UART_APB2 0
#define PORT_UART_BIT 17u
#define PORT_UART_IRQ 38u
#elif BOARD_UART_BASE == 0x40004800u  // USART3
#define PORT_UART_APB2 0
#define PORT_UART_BIT 18u
#define PORT_UART_IRQ 39u
#else
#error "uart.base is none of USART1, 2 and 3 of an STM32F1 or L4."
#endif
#if BOARD_UART_IRQ != PORT_UART_IRQ
#error "BOARD_UART_IRQ is not the interrupt of the USART at uart.base."
#endif

#endif
