// The USART of the STM32F7, H7 and L4, of which RM0410, RM0433 and RM0351 are ST's reference
// manuals.

#include "stm32_usart.h"

#include "cortex_m_port.h"
#include "port.h"

// RM0410 34.8, RM0433 48.7, RM0351 40.8: USART.
#define PORT_USART_CR1 PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_USART_BRR PORT_REGISTER(BOARD_UART_BASE + 0x0cu)
#define PORT_USART_ISR PORT_REGISTER(BOARD_UART_BASE + 0x1cu)
#define PORT_USART_ICR PORT_REGISTER(BOARD_UART_BASE + 0x20u)
#define PORT_USART_RDR PORT_REGISTER(BOARD_UART_BASE + 0x24u)
#define PORT_USART_TDR PORT_REGISTER(BOARD_UART_BASE + 0x28u)
#define PORT_CR1_UE (1u << 0)
#define PORT_CR1_RE (1u << 2)
#define PORT_CR1_TE (1u << 3)
#define PORT_CR1_RXNEIE (1u << 5)
#define PORT_ISR_ORE (1u << 3)
#define PORT_ISR_RXNE (1u << 5)
#define PORT_ISR_TXE (1u << 7)
#define PORT_ICR_ORECF (1u << 3)

void port_start_usart(uint32_t bus_hz) {
    // 16 samples a bit: BRR is the divider itself.
    PORT_USART_BRR = (bus_hz + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD;
    PORT_USART_CR1 = PORT_CR1_UE | PORT_CR1_TE | PORT_CR1_RE | PORT_CR1_RXNEIE;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room: a sender that can wait, waits. The
        // USART goes on asking, so it is not listened to until then.
        PORT_NVIC_ICER = PORT_NVIC_BIT;
        return;
    }
    const uint32_t status = PORT_USART_ISR;
    if ((status & PORT_ISR_ORE) != 0) {
        PORT_USART_ICR = PORT_ICR_ORECF;  // nothing else clears it, and it interrupts, too
    }
    if ((status & PORT_ISR_RXNE) != 0) {
        queue_put(&port_received, (uint8_t)PORT_USART_RDR);
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_USART_ISR & PORT_ISR_TXE) != 0) {
            break;
        }
    }
    PORT_USART_TDR = byte;
}
