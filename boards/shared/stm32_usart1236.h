// Which bus the USART of an STM32F2, F4, F7 or H7 is on (RM0090 2.3, 7.3.13, 7.3.14; RM0410 5.3;
// RM0433 8.7), its bit there, and its interrupt.

#ifndef SHELFCAST_STM32_USART1236_H
#define SHELFCAST_STM32_USART1236_H

#include "board.h"

#if BOARD_UART_BASE == 0x40011000u  // USART1
#define PORT_UART_APB2 1
#define PORT_UART_BIT 4u
#define PORT_UART_IRQ 37u
#elif BOARD_UART_BASE == 0x40011400u  // USART6
#define PORT_UART_APB2 1
#define PORT_UART_BIT 5u
#define PORT_UART_IRQ 71u
#elif BOARD_UART_BASE == 0x40004400u  // USART2
#define PORT_UART_APB2 0
#define PORT_UART_BIT 17u
#define PORT_UART_IRQ 38u
#elif BOARD_UART_BASE == 0x40004800u  // USART3
#define PORT_UART_APB2 0
#define PORT_UART_BIT 18u
#define PORT_UART_IRQ 39u
#else
#error "uart.base is none of USART1, 2, 3 and 6 of an STM32F2, F4, F7 or H7."
#endif
#if BOARD_UART_IRQ != PORT_UART_IRQ
#error "BOARD_UART_IRQ is not the interrupt of the USART at uart.base."
#endif

#endif
