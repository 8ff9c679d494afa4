// RP2040: clock and serial port. Sections are of Raspberry Pi's RP2040 Datasheet.
//
// A reset that the core asks for is one of the core alone (2.4.2.9): every block used here is put
// into reset first, and the clocks are taken off the PLL before that is touched.

#include "port.h"

#include "cortex_m_port.h"
#include "pl011.h"
#include "rp2_clock.h"

// 2.14.3: resets of the blocks.
#define PORT_RESET_IO_BANK0 (1u << 5)
#define PORT_RESET_PADS_BANK0 (1u << 8)

// 2.15.7: clocks.
#define PORT_CLK_PERI_CTRL PORT_REGISTER(0x40008048u)
#define PORT_PERI_ENABLE (1u << 11)  // its auxiliary source 0 is the core's clock

// 2.19.6.1, 2.19.6.3: functions of the pins, and their pads.
#define PORT_IO_CTRL(pin) PORT_REGISTER(0x40014004u + 8u * (pin))
#define PORT_PAD(pin) PORT_REGISTER(0x4001c004u + 4u * (pin))
#define PORT_FUNCTION_UART 2u
#define PORT_PAD_RX 0x5au  // as after a reset, but pulled up: an idle line is high

// 2.14.3, 2.3.2: the UART's reset and interrupt.
#if BOARD_UART_BASE == 0x40034000u  // UART0
#define PORT_RESET_UART (1u << 22)
#define PORT_UART_IRQ 20u
#elif BOARD_UART_BASE == 0x40038000u  // UART1
#define PORT_RESET_UART (1u << 23)
#define PORT_UART_IRQ 21u
#else
#error "uart.base is neither UART0 nor UART1 of an RP2040."
#endif
#if BOARD_UART_IRQ != PORT_UART_IRQ
#error "BOARD_UART_IRQ is not the interrupt of the UART at uart.base."
#endif

void port_init(void) {
    port_start_clock();
    PORT_CLK_PERI_CTRL = PORT_PERI_ENABLE;
    (void)port_restarts(PORT_RESET_IO_BANK0 | PORT_RESET_PADS_BANK0 | PORT_RESET_UART);
    PORT_PAD(BOARD_UART_RX_PIN) = PORT_PAD_RX;
    PORT_IO_CTRL(BOARD_UART_RX_PIN) = PORT_FUNCTION_UART;
    port_start_uart(port_clock_hz());
    PORT_IO_CTRL(BOARD_UART_TX_PIN) = PORT_FUNCTION_UART;  // not before it idles high
}
