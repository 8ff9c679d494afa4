// The USART of the STM32F1, F2 and F4. RM0041 is ST's reference manual of the F100, RM0090 that of
// the F405.

#include "stm32_usart.h"

#include "cortex_m_port.h"
#include "port.h"

// RM0041 23.6, RM0090 30.6: USART.
#define PORT_USART_SR PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_USART_DR PORT_REGISTER(BOARD_UART_BASE + 0x04u)
#define PORT_USART_BRR PORT_REGISTER(BOARD_UART_BASE + 0x08u)
#define PORT_USART_CR1 PORT_REGISTER(BOARD_UART_BASE + 0x0cu)
#define PORT_SR_ORE (1u << 3)
#define PORT_SR_RXNE (1u << 5)
#define PORT_SR_TXE (1u << 7)
#define PORT_CR1_RE (1u << 2)
#define PORT_CR1_TE (1u << 3)
#define PORT_CR1_RXNEIE (1u << 5)
#define PORT_CR1_UE (1u << 13)

void port_start_usart(uint32_t bus_hz) {
    // 16 samples a bit: BRR is the divider itself (RM0041 23.3.4, RM0090 30.3.4).
    PORT_USART_BRR = (bus_hz + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD;
    PORT_USART_CR1 = PORT_CR1_UE | PORT_CR1_TE | PORT_CR1_RE | PORT_CR1_RXNEIE;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room: a sender that can wait, waits.
        // At the interrupt controller, as QEMU goes on asking whatever CR1 says.
        PORT_NVIC_ICER = PORT_NVIC_BIT;
        return;
    }
    // Reading SR, then DR also clears an overrun (RM0041 23.6.1, RM0090 30.6.1).
    const uint32_t status = PORT_USART_SR;
    if ((status & (PORT_SR_RXNE | PORT_SR_ORE)) != 0) {
        const uint8_t byte = (uint8_t)PORT_USART_DR;
        if ((status & PORT_SR_RXNE) != 0) {
            queue_put(&port_received, byte);
        }
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_USART_SR & PORT_SR_TXE) != 0) {
            break;
        }
    }
    PORT_USART_DR = byte;
}
