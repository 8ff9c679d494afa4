// SiFive FE310-G000 and FE310-G002: clock and serial port. Sections are those of the FE310-G002
// Manual v19p05; the FE310-G000 has the same registers at the same addresses.

#include "port.h"

#include <stdbool.h>

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

// Chapter 6: power, reset, clock, interrupt (PRCI).
#define PORT_HFROSCCFG PORT_REGISTER(0x10008000u)
#define PORT_HFXOSCCFG PORT_REGISTER(0x10008004u)
#define PORT_PLLCFG PORT_REGISTER(0x10008008u)
#define PORT_PLLOUTDIV PORT_REGISTER(0x1000800cu)
#define PORT_OSC_ENABLE (1u << 30)
#define PORT_OSC_READY (1u << 31)
#define PORT_HFROSC_RESET (16u << 16 | 4u)  // trim and divider as after a reset
#define PORT_PLL_SELECT (1u << 16)
#define PORT_PLL_FROM_CRYSTAL (1u << 17)
#define PORT_PLL_BYPASS (1u << 18)
#define PORT_PLL_LOCK (1u << 31)
#define PORT_PLLOUTDIV_BY_1 (1u << 8)

// Chapter 10: platform-level interrupt controller (PLIC), and the core's interrupt enables.
#define PORT_PLIC_PRIORITY PORT_REGISTER(0x0c000000u + 4u * BOARD_UART_IRQ)
#define PORT_PLIC_ENABLE PORT_REGISTER(0x0c002000u + 4u * (BOARD_UART_IRQ / 32u))
#define PORT_PLIC_THRESHOLD PORT_REGISTER(0x0c200000u)
#define PORT_PLIC_CLAIM PORT_REGISTER(0x0c200004u)
#define PORT_PLIC_BIT (1u << (BOARD_UART_IRQ % 32u))
#define PORT_MIE_MEIE (1u << 11)

// Chapter 13 and 14: the watchdog of the always-on domain, which a 32.768 kHz clock drives.
#define PORT_WDOGCFG PORT_REGISTER(0x10000000u)
#define PORT_WDOGCOUNT PORT_REGISTER(0x10000008u)
#define PORT_WDOGKEY PORT_REGISTER(0x1000001cu)
#define PORT_WDOGCMP PORT_REGISTER(0x10000020u)
#define PORT_WDOGCFG_RSTEN (1u << 8)
#define PORT_WDOGCFG_ENALWAYS (1u << 12)
#define PORT_WDOG_UNLOCK 0x51f15eu

// Chapter 17: pins.
#define PORT_GPIO_IOF_EN PORT_REGISTER(0x10012038u)
#define PORT_GPIO_IOF_SEL PORT_REGISTER(0x1001203cu)
#define PORT_UART_PINS (1u << BOARD_UART_TX_PIN | 1u << BOARD_UART_RX_PIN)

// Chapter 18: UART.
#define PORT_UART_TXDATA PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_UART_RXDATA PORT_REGISTER(BOARD_UART_BASE + 0x04u)
#define PORT_UART_TXCTRL PORT_REGISTER(BOARD_UART_BASE + 0x08u)
#define PORT_UART_RXCTRL PORT_REGISTER(BOARD_UART_BASE + 0x0cu)
#define PORT_UART_IE PORT_REGISTER(BOARD_UART_BASE + 0x10u)
#define PORT_UART_DIV PORT_REGISTER(BOARD_UART_BASE + 0x18u)
#define PORT_UART_FULL (1u << 31)   // txdata
#define PORT_UART_EMPTY (1u << 31)  // rxdata
#define PORT_UART_ENABLE (1u << 0)  // txctrl; rxctrl, where a watermark of 0 means every byte
#define PORT_UART_RXWM (1u << 1)
#define PORT_UART_FIFO_BYTES 8u

// Chapter 19: the flash's clock is the core's divided by 2 * (div + 1).
#define PORT_QSPI0_SCKDIV PORT_REGISTER(0x10014000u)
#define PORT_SCKDIV_RESET 3u

#if BOARD_UART_BASE != 0x10013000u && BOARD_UART_BASE != 0x10023000u
#error "uart.base is neither UART0 nor UART1 of an FE310."
#endif

// 6.5: the crystal is halved to 6..12 MHz, multiplied by an even number up to 128 to
// 384..768 MHz, and halved to what the core gets: its clock is BOARD_HFXOSC_HZ / 4 times that.
#if BOARD_HFXOSC_HZ < 12000000u || BOARD_HFXOSC_HZ > 24000000u
#error "BOARD_HFXOSC_HZ must be 12 to 24 MHz."
#endif
#if BOARD_CLOCK_HZ < 192000000u || BOARD_CLOCK_HZ > 320000000u ||                                  \
    BOARD_CLOCK_HZ % (BOARD_HFXOSC_HZ / 2u) != 0
#error "clock_hz must be 192 to 320 MHz, and a multiple of half of BOARD_HFXOSC_HZ."
#endif
#define PORT_PLL_R 1u                                              // divided by 2
#define PORT_PLL_F (BOARD_CLOCK_HZ / (BOARD_HFXOSC_HZ / 2u) - 1u)  // multiplied by 2 * (F + 1)
#define PORT_PLL_Q 1u                                              // divided by 2

// 6.3: the internal oscillator, a ring, runs at some 72 MHz, and is divided by 5. Trimmed by
// nobody it is only about right.
#define PORT_HFROSC_HZ 14400000u

// Turns of a waiting loop: at 14 MHz some 30 ms for a crystal, and 100 us for the PLL (6.5).
#define PORT_PATIENCE 100000u
#define PORT_PLL_PATIENCE 2000u
#define PORT_SEND_PATIENCE (BOARD_CLOCK_HZ / 10u)
// A few turns of the 32.768 kHz clock; some milliseconds.
#define PORT_RESET_PATIENCE (BOARD_CLOCK_HZ / 200u)

static uint32_t port_hz = PORT_HFROSC_HZ;
static queue_t port_received;

// Wait until a bit of a register is set. Returns false when it never is.
static bool port_waits(volatile uint32_t *address, uint32_t bit) {
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if ((*address & bit) != 0) {
            return true;
        }
    }
    return false;
}

static void port_pause(uint32_t turns) {
    for (volatile uint32_t left = turns; left > 0; left--) {
    }
}

// Run from the crystal at BOARD_CLOCK_HZ. Returns false when that can't be, and leaves the chip on
// its internal oscillator.
static bool port_starts_pll(void) {
    // A boot loader may have the PLL running. It is only touched while the core has another clock.
    PORT_HFROSCCFG = PORT_OSC_ENABLE | PORT_HFROSC_RESET;
    (void)port_waits(&PORT_HFROSCCFG, PORT_OSC_READY);
    PORT_PLLCFG &= ~PORT_PLL_SELECT;
    PORT_HFXOSCCFG = PORT_OSC_ENABLE;
    if (!port_waits(&PORT_HFXOSCCFG, PORT_OSC_READY)) {
        return false;
    }
    const uint32_t factors =
        PORT_PLL_FROM_CRYSTAL | PORT_PLL_Q << 10 | PORT_PLL_F << 4 | PORT_PLL_R;
    PORT_PLLCFG = factors | PORT_PLL_BYPASS;
    PORT_PLLOUTDIV = PORT_PLLOUTDIV_BY_1;
    PORT_PLLCFG = factors;
    // The lock is only to be believed after 100 us (6.5).
    port_pause(PORT_PLL_PATIENCE);
    if (!port_waits(&PORT_PLLCFG, PORT_PLL_LOCK)) {
        PORT_PLLCFG = factors | PORT_PLL_BYPASS;
        return false;
    }
    // 40 MHz at most for the flash, whose plain read command may have 50.
    PORT_QSPI0_SCKDIV = PORT_SCKDIV_RESET;
    PORT_PLLCFG = factors | PORT_PLL_SELECT;
    return true;
}

void port_init(void) {
    if (port_starts_pll()) {
        port_hz = BOARD_CLOCK_HZ;
    }
    PORT_GPIO_IOF_SEL &= ~PORT_UART_PINS;
    PORT_GPIO_IOF_EN |= PORT_UART_PINS;
    // 18.9: a bit takes div + 1 cycles.
    PORT_UART_DIV = (port_hz + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD - 1u;
    PORT_UART_TXCTRL = PORT_UART_ENABLE;
    PORT_UART_RXCTRL = PORT_UART_ENABLE;
    PORT_UART_IE = PORT_UART_RXWM;
    PORT_PLIC_PRIORITY = 1u;
    PORT_PLIC_THRESHOLD = 0;
    PORT_PLIC_ENABLE = PORT_PLIC_BIT;
    // After a fault inside the interrupt it is still claimed, and would not come again.
    PORT_PLIC_CLAIM = BOARD_UART_IRQ;
    __asm__ volatile("csrs mie, %0" : : "r"(PORT_MIE_MEIE));
    __asm__ volatile("csrsi mstatus, 8");  // MIE
}

void port_interrupt(void) {
    const uint32_t source = PORT_PLIC_CLAIM;
    while (!queue_is_full(&port_received)) {
        const uint32_t data = PORT_UART_RXDATA;
        if ((data & PORT_UART_EMPTY) != 0) {
            break;
        }
        queue_put(&port_received, (uint8_t)data);
    }
    if (queue_is_full(&port_received)) {
        // Leave what is still to come where it is until port_get made room.
        PORT_UART_IE = 0;
    }
    PORT_PLIC_CLAIM = source;
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_UART_TXDATA & PORT_UART_FULL) == 0) {
            break;
        }
    }
    PORT_UART_TXDATA = byte;
}

int port_get(void) {
    // Held off, an interrupt still ends the sleep: a byte that comes just now isn't slept through.
    __asm__ volatile("csrci mstatus, 8" ::: "memory");
    if (queue_is_empty(&port_received)) {
        __asm__ volatile("wfi");
    }
    __asm__ volatile("csrsi mstatus, 8" ::: "memory");
    if (queue_is_empty(&port_received)) {
        return -1;
    }
    const uint8_t byte = queue_take(&port_received);
    PORT_UART_IE = PORT_UART_RXWM;
    return byte;
}

uint32_t port_clock_hz(void) {
    return port_hz;
}

void port_restart(void) {
    // What is still in the UART goes out first, 10 bits a byte; a turn takes more than a cycle.
    port_pause(10u * (PORT_UART_FIFO_BYTES + 1u) * (BOARD_CLOCK_HZ / BOARD_UART_BAUD));
    // 14.2: every write needs the key before it. The count is past the limit at once.
    PORT_WDOGKEY = PORT_WDOG_UNLOCK;
    PORT_WDOGCMP = 0;
    PORT_WDOGKEY = PORT_WDOG_UNLOCK;
    PORT_WDOGCOUNT = 1u;
    PORT_WDOGKEY = PORT_WDOG_UNLOCK;
    PORT_WDOGCFG = PORT_WDOGCFG_RSTEN | PORT_WDOGCFG_ENALWAYS;
    port_pause(PORT_RESET_PATIENCE);
}
