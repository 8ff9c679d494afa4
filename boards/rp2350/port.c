// RP2350 on its Cortex-M33 cores: clock and serial port. Sections are of Raspberry Pi's RP2350
// Datasheet. Core 1 stays where the ROM leaves it, asleep.

#include "port.h"

#include "cortex_m_port.h"
#include "pl011.h"
#include "rp2_chip.h"
#include "rp2_clock.h"

// 5.9.5.1: what the ROM looks for in the first 4 KB of flash before it starts the image: a block
// that says "executable, for RP2350, Arm, secure", alone in its loop. It has no entry point, so
// the ROM enters through the vector table at the image's start, as a reset would. The ROM has set
// up the flash by then: no boot stage 2.
__attribute__((section(".vectors.image_def"), used)) static const uint32_t port_image_def[] = {
    0xffffded3u,  // the block begins
    0x10210142u,  // item 0x42, IMAGE_TYPE, 1 word: EXE 0x0001, secure 0x0020, RP2350 0x1000
    0x000001ffu,  // item 0xff, the last: 1 word came before it
    0u,           // from here to the next block: this is the only one
    0xab123579u,  // the block ends
};

// 7.5.3: resets of the blocks.
#define PORT_RESET_IO_BANK0 (1u << 6)
#define PORT_RESET_PADS_BANK0 (1u << 9)

// 8.1.6: clocks.
#define PORT_CLK_PERI_CTRL PORT_REGISTER(0x40010048u)
#define PORT_CLK_PERI_DIV PORT_REGISTER(0x4001004cu)
#define PORT_PERI_ENABLE (1u << 11)  // its auxiliary source 0 is the core's clock

// 9.11.1, 9.11.3: functions of the pins, and their pads. A pad's bit 8 isolates it after a reset
// (9.7): both pads used here are written without it.
#define PORT_IO_CTRL(pin) PORT_REGISTER(0x40028004u + 8u * (pin))
#define PORT_PAD(pin) PORT_REGISTER(0x40038004u + 4u * (pin))
#define PORT_FUNCTION_UART 2u
#define PORT_PAD_TX 0x52u  // 4 mA, Schmitt trigger, input on, no pull
#define PORT_PAD_RX 0x5au  // the same, pulled up: an idle line is high

// 7.5.3, 3.2: the UART's reset and interrupt.
#if BOARD_UART_BASE == 0x40070000u  // UART0
#define PORT_RESET_UART (1u << 26)
#define PORT_UART_IRQ 33u
#elif BOARD_UART_BASE == 0x40078000u  // UART1
#define PORT_RESET_UART (1u << 27)
#define PORT_UART_IRQ 34u
#else
#error "uart.base is none of UART0 and UART1 of an RP2350."
#endif
#if BOARD_UART_IRQ != PORT_UART_IRQ
#error "BOARD_UART_IRQ is not the interrupt of the UART at uart.base."
#endif

void port_init(void) {
    port_start_clock();
    PORT_CLK_PERI_DIV = PORT_DIV_1;
    PORT_CLK_PERI_CTRL = PORT_PERI_ENABLE;
    (void)port_restarts(PORT_RESET_IO_BANK0 | PORT_RESET_PADS_BANK0 | PORT_RESET_UART);
    PORT_PAD(BOARD_UART_RX_PIN) = PORT_PAD_RX;
    PORT_IO_CTRL(BOARD_UART_RX_PIN) = PORT_FUNCTION_UART;
    port_start_uart(port_clock_hz());
    PORT_IO_CTRL(BOARD_UART_TX_PIN) = PORT_FUNCTION_UART;  // not before it idles high
    PORT_PAD(BOARD_UART_TX_PIN) = PORT_PAD_TX;
}
