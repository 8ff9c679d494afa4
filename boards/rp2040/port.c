// RP2040: clock and serial port. Sections are of Raspberry Pi's RP2040 Datasheet.
//
// A reset that the core asks for is one of the core alone (2.4.2.9): every block used here is put
// into reset first, and the clocks are taken off the PLL before that is touched.

#include "port.h"

#include <stdbool.h>

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

// 2.1.2: writes to these aliases of a register set or clear the bits that are 1.
#define PORT_SET(address) PORT_REGISTER((address) + 0x2000u)
#define PORT_CLEAR(address) PORT_REGISTER((address) + 0x3000u)

// 2.14.3: resets of the blocks.
#define PORT_RESETS_RESET 0x4000c000u
#define PORT_RESETS_DONE 0x4000c008u
#define PORT_RESET_IO_BANK0 (1u << 5)
#define PORT_RESET_PADS_BANK0 (1u << 8)
#define PORT_RESET_PLL_SYS (1u << 12)

// 2.15.7: clocks. SELECTED has one bit for each source.
#define PORT_CLK_REF_CTRL 0x40008030u
#define PORT_CLK_REF_DIV 0x40008034u
#define PORT_CLK_REF_SELECTED 0x40008038u
#define PORT_CLK_SYS_CTRL 0x4000803cu
#define PORT_CLK_SYS_DIV 0x40008040u
#define PORT_CLK_SYS_SELECTED 0x40008044u
#define PORT_CLK_PERI_CTRL 0x40008048u
#define PORT_CLK_RESUS_CTRL 0x40008078u
#define PORT_REF_ROSC 0u
#define PORT_REF_XOSC 2u
#define PORT_SYS_REF 0u
#define PORT_SYS_AUX 1u  // its auxiliary source 0 is the system PLL
#define PORT_DIV_1 (1u << 8)
#define PORT_PERI_ENABLE (1u << 11)  // its auxiliary source 0 is the core's clock

// 2.16.7: crystal oscillator.
#define PORT_XOSC_CTRL 0x40024000u
#define PORT_XOSC_STATUS 0x40024004u
#define PORT_XOSC_STARTUP 0x4002400cu
#define PORT_XOSC_ENABLE 0x00fabaa0u  // ENABLE, and the range of 1 to 15 MHz
#define PORT_XOSC_DISABLE 0x00d1eaa0u
#define PORT_XOSC_STABLE (1u << 31)

// 2.18.4: system PLL.
#define PORT_PLL_CS 0x40028000u
#define PORT_PLL_PWR 0x40028004u
#define PORT_PLL_FBDIV 0x40028008u
#define PORT_PLL_PRIM 0x4002800cu
#define PORT_CS_LOCK (1u << 31)
#define PORT_PWR_PD (1u << 0)
#define PORT_PWR_POSTDIVPD (1u << 3)
#define PORT_PWR_VCOPD (1u << 5)

// 2.19.6.1, 2.19.6.3: functions of the pins, and their pads.
#define PORT_IO_CTRL(pin) PORT_REGISTER(0x40014004u + 8u * (pin))
#define PORT_PAD(pin) PORT_REGISTER(0x4001c004u + 4u * (pin))
#define PORT_FUNCTION_UART 2u
#define PORT_PAD_RX 0x5au  // as after a reset, but pulled up: an idle line is high

// 4.2.8: UART, ARM's PL011.
#define PORT_UART_DR PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_UART_FR PORT_REGISTER(BOARD_UART_BASE + 0x18u)
#define PORT_UART_IBRD PORT_REGISTER(BOARD_UART_BASE + 0x24u)
#define PORT_UART_FBRD PORT_REGISTER(BOARD_UART_BASE + 0x28u)
#define PORT_UART_LCR_H PORT_REGISTER(BOARD_UART_BASE + 0x2cu)
#define PORT_UART_CR PORT_REGISTER(BOARD_UART_BASE + 0x30u)
#define PORT_UART_IMSC PORT_REGISTER(BOARD_UART_BASE + 0x38u)
#define PORT_FR_RXFE (1u << 4)
#define PORT_FR_TXFF (1u << 5)
#define PORT_LCR_8N1_FIFO 0x70u
#define PORT_CR_ON 0x301u             // UARTEN, TXE, RXE
#define PORT_IMSC_RECEIVED (5u << 4)  // RXIM: the FIFO fills; RTIM: it stopped filling

// ARM DDI 0419 B3.4: the interrupt controller.
#define PORT_NVIC_ISER PORT_REGISTER(0xe000e100u)
#define PORT_NVIC_ICER PORT_REGISTER(0xe000e180u)
#define PORT_NVIC_BIT (1u << BOARD_UART_IRQ)

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

// 2.18.2: the PLL multiplies the crystal to 750..1600 MHz; two dividers of 1 to 7 follow.
#define PORT_POSTDIV1 6u
#define PORT_POSTDIV2 2u
#if BOARD_XOSC_HZ < 5000000u || BOARD_XOSC_HZ > 15000000u
#error "BOARD_XOSC_HZ must be 5 to 15 MHz."
#endif
#if BOARD_CLOCK_HZ < 62500000u || BOARD_CLOCK_HZ > 133000000u
#error "clock_hz must be 62.5 to 133 MHz."
#endif
#if (BOARD_CLOCK_HZ / 1000u * PORT_POSTDIV1 * PORT_POSTDIV2) % (BOARD_XOSC_HZ / 1000u) != 0 ||     \
    BOARD_CLOCK_HZ % 1000u != 0 || BOARD_XOSC_HZ % 1000u != 0
#error "12 times clock_hz must be a multiple of BOARD_XOSC_HZ, both whole kilohertz."
#endif
#define PORT_FEEDBACK                                                                              \
    (BOARD_CLOCK_HZ / 1000u * PORT_POSTDIV1 * PORT_POSTDIV2 / (BOARD_XOSC_HZ / 1000u))

// 2.16.3: the crystal is given a millisecond, in units of 256 of its periods.
#define PORT_XOSC_DELAY ((BOARD_XOSC_HZ / 1000u + 128u) / 256u)

// 2.17: the ring oscillator, which the chip starts on, has 1.8 to 12 MHz; this is its typical.
#define PORT_ROSC_HZ 6500000u

// Turns of a waiting loop: some 60 ms for a crystal, which takes 1; some 100 ms for a byte.
#define PORT_PATIENCE 100000u
#define PORT_SEND_PATIENCE (BOARD_CLOCK_HZ / 10u)

static uint32_t port_hz = PORT_ROSC_HZ;
static queue_t port_received;

// Wait until (*address & mask) == value. Returns false when it never is.
static bool port_waits(uint32_t address, uint32_t mask, uint32_t value) {
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if ((PORT_REGISTER(address) & mask) == value) {
            return true;
        }
    }
    return false;
}

static bool port_restarts(uint32_t blocks) {
    PORT_SET(PORT_RESETS_RESET) = blocks;
    PORT_CLEAR(PORT_RESETS_RESET) = blocks;
    return port_waits(PORT_RESETS_DONE, blocks, blocks);
}

// Put the core on the ring oscillator, where it is after power-on. Both multiplexers switch
// without a glitch, and neither stops the clock it leaves (2.15.3.2).
static bool port_starts_slow(void) {
    PORT_REGISTER(PORT_CLK_RESUS_CTRL) = 0;
    PORT_CLEAR(PORT_CLK_SYS_CTRL) = PORT_SYS_AUX;
    if (!port_waits(PORT_CLK_SYS_SELECTED, 15u, 1u << PORT_SYS_REF)) {
        return false;
    }
    PORT_REGISTER(PORT_CLK_REF_CTRL) = PORT_REF_ROSC;
    PORT_REGISTER(PORT_CLK_REF_DIV) = PORT_DIV_1;
    PORT_REGISTER(PORT_CLK_SYS_DIV) = PORT_DIV_1;
    return port_waits(PORT_CLK_REF_SELECTED, 15u, 1u << PORT_REF_ROSC);
}

// Put the core on the crystal. Returns false when that doesn't start.
static bool port_starts_crystal(void) {
    PORT_REGISTER(PORT_XOSC_STARTUP) = PORT_XOSC_DELAY;
    PORT_REGISTER(PORT_XOSC_CTRL) = PORT_XOSC_ENABLE;
    if (!port_waits(PORT_XOSC_STATUS, PORT_XOSC_STABLE, PORT_XOSC_STABLE)) {
        PORT_REGISTER(PORT_XOSC_CTRL) = PORT_XOSC_DISABLE;
        return false;
    }
    PORT_REGISTER(PORT_CLK_REF_CTRL) = PORT_REF_XOSC;
    return port_waits(PORT_CLK_REF_SELECTED, 15u, 1u << PORT_REF_XOSC);
}

// Run from the PLL at BOARD_CLOCK_HZ. Returns false when that can't be, and leaves the core on the
// crystal.
static bool port_starts_pll(void) {
    if (!port_restarts(PORT_RESET_PLL_SYS)) {
        return false;
    }
    // 2.18.3: the loop first, its dividers when it has locked.
    PORT_REGISTER(PORT_PLL_CS) = 1u;  // the crystal, undivided
    PORT_REGISTER(PORT_PLL_FBDIV) = PORT_FEEDBACK;
    PORT_CLEAR(PORT_PLL_PWR) = PORT_PWR_PD | PORT_PWR_VCOPD;
    if (!port_waits(PORT_PLL_CS, PORT_CS_LOCK, PORT_CS_LOCK)) {
        PORT_SET(PORT_PLL_PWR) = PORT_PWR_PD | PORT_PWR_VCOPD;
        return false;
    }
    PORT_REGISTER(PORT_PLL_PRIM) = PORT_POSTDIV1 << 16 | PORT_POSTDIV2 << 12;
    PORT_CLEAR(PORT_PLL_PWR) = PORT_PWR_POSTDIVPD;
    PORT_REGISTER(PORT_CLK_SYS_CTRL) = PORT_SYS_REF;  // chooses the auxiliary source, to begin with
    PORT_REGISTER(PORT_CLK_SYS_CTRL) = PORT_SYS_AUX;
    if (!port_waits(PORT_CLK_SYS_SELECTED, 15u, 1u << PORT_SYS_AUX)) {
        PORT_REGISTER(PORT_CLK_SYS_CTRL) = PORT_SYS_REF;
        return false;
    }
    return true;
}

static void port_start_clock(void) {
    if (!port_starts_slow() || !port_starts_crystal()) {
        return;
    }
    port_hz = BOARD_XOSC_HZ;
    if (port_starts_pll()) {
        port_hz = BOARD_CLOCK_HZ;
    }
}

void port_init(void) {
    port_start_clock();
    PORT_REGISTER(PORT_CLK_PERI_CTRL) = PORT_PERI_ENABLE;
    (void)port_restarts(PORT_RESET_IO_BANK0 | PORT_RESET_PADS_BANK0 | PORT_RESET_UART);
    PORT_PAD(BOARD_UART_RX_PIN) = PORT_PAD_RX;
    PORT_IO_CTRL(BOARD_UART_RX_PIN) = PORT_FUNCTION_UART;
    // 4.2.7.1: 16 samples a bit, and the divider in 64ths. It is taken over by writing LCR_H.
    const uint32_t divider = (4u * port_hz + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD;
    PORT_UART_IBRD = divider / 64u;
    PORT_UART_FBRD = divider % 64u;
    PORT_UART_LCR_H = PORT_LCR_8N1_FIFO;
    PORT_UART_CR = PORT_CR_ON;
    PORT_IO_CTRL(BOARD_UART_TX_PIN) = PORT_FUNCTION_UART;  // not before it idles high
    PORT_UART_IMSC = PORT_IMSC_RECEIVED;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    while ((PORT_UART_FR & PORT_FR_RXFE) == 0) {
        if (queue_is_full(&port_received)) {
            // Leave the bytes where they are until port_get made room: a sender that can wait,
            // waits. The UART goes on asking, so it is not listened to until then.
            PORT_NVIC_ICER = PORT_NVIC_BIT;
            return;
        }
        queue_put(&port_received, (uint8_t)PORT_UART_DR);
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_UART_FR & PORT_FR_TXFF) == 0) {
            break;
        }
    }
    PORT_UART_DR = byte;
}

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

uint32_t port_clock_hz(void) {
    return port_hz;
}
