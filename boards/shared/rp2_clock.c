// Clocks and resets of the RP2040 and the RP2350. Sections are of Raspberry Pi's data sheets of the
// two.

#include "rp2_clock.h"

#include "cortex_m_port.h"
#include "port.h"
#include "rp2_chip.h"

// RP2040 2.1.2, RP2350 2.1.3: writes to these aliases of a register set or clear the bits that are
// 1.
#define PORT_SET(address) PORT_REGISTER((address) + 0x2000u)
#define PORT_CLEAR(address) PORT_REGISTER((address) + 0x3000u)

// RP2040 2.14.3, RP2350 7.5.3: resets of the blocks.
#define PORT_RESETS_RESET (PORT_RESETS + 0x0u)
#define PORT_RESETS_DONE (PORT_RESETS + 0x8u)

// RP2040 2.15.7, RP2350 8.1.6: clocks. SELECTED has one bit for each source.
#define PORT_CLK_REF_CTRL (PORT_CLOCKS + 0x30u)
#define PORT_CLK_REF_DIV (PORT_CLOCKS + 0x34u)
#define PORT_CLK_REF_SELECTED (PORT_CLOCKS + 0x38u)
#define PORT_CLK_SYS_CTRL (PORT_CLOCKS + 0x3cu)
#define PORT_CLK_SYS_DIV (PORT_CLOCKS + 0x40u)
#define PORT_CLK_SYS_SELECTED (PORT_CLOCKS + 0x44u)
#define PORT_REF_ROSC 0u
#define PORT_REF_XOSC 2u
#define PORT_SYS_REF 0u
#define PORT_SYS_AUX 1u  // its auxiliary source 0 is the system PLL

// RP2040 2.16.7, RP2350 8.2.8: crystal oscillator.
#define PORT_XOSC_CTRL (PORT_XOSC + 0x0u)
#define PORT_XOSC_STATUS (PORT_XOSC + 0x4u)
#define PORT_XOSC_STARTUP (PORT_XOSC + 0xcu)
#define PORT_XOSC_ENABLE 0x00fabaa0u  // ENABLE, and the range of 1 to 15 MHz
#define PORT_XOSC_DISABLE 0x00d1eaa0u
#define PORT_XOSC_STABLE (1u << 31)

// RP2040 2.18.4, RP2350 8.6.5: system PLL.
#define PORT_PLL_CS (PORT_PLL + 0x0u)
#define PORT_PLL_PWR (PORT_PLL + 0x4u)
#define PORT_PLL_FBDIV (PORT_PLL + 0x8u)
#define PORT_PLL_PRIM (PORT_PLL + 0xcu)
#define PORT_CS_LOCK (1u << 31)
#define PORT_PWR_PD (1u << 0)
#define PORT_PWR_POSTDIVPD (1u << 3)
#define PORT_PWR_VCOPD (1u << 5)

#if BOARD_XOSC_HZ < 5000000u || BOARD_XOSC_HZ > 15000000u
#error "BOARD_XOSC_HZ must be 5 to 15 MHz."
#endif
#define PORT_FEEDBACK                                                                              \
    (BOARD_CLOCK_HZ / 1000u * PORT_POSTDIV1 * PORT_POSTDIV2 / (BOARD_XOSC_HZ / 1000u))

// RP2040 2.16.3, RP2350 8.2.4: the crystal is given a millisecond, in units of 256 of its periods.
#define PORT_XOSC_DELAY ((BOARD_XOSC_HZ / 1000u + 128u) / 256u)

static uint32_t port_hz = PORT_ROSC_HZ;

bool port_restarts(uint32_t blocks) {
    PORT_SET(PORT_RESETS_RESET) = blocks;
    PORT_CLEAR(PORT_RESETS_RESET) = blocks;
    return port_waits(&PORT_REGISTER(PORT_RESETS_DONE), blocks, blocks);
}

// Put the core on the ring oscillator, whatever it was left on. Both multiplexers switch without a
// glitch, and neither stops the clock it leaves (RP2040 2.15.3.2, RP2350 8.1.2).
static bool port_starts_slow(void) {
    PORT_REGISTER(PORT_CLK_RESUS_CTRL) = 0;
    PORT_CLEAR(PORT_CLK_SYS_CTRL) = PORT_SYS_AUX;
    if (!port_waits(&PORT_REGISTER(PORT_CLK_SYS_SELECTED), PORT_SYS_SELECTED_MASK,
                    1u << PORT_SYS_REF)) {
        return false;
    }
    PORT_REGISTER(PORT_CLK_REF_CTRL) = PORT_REF_ROSC;
    PORT_REGISTER(PORT_CLK_REF_DIV) = PORT_DIV_1;
    PORT_REGISTER(PORT_CLK_SYS_DIV) = PORT_DIV_1;
    return port_waits(&PORT_REGISTER(PORT_CLK_REF_SELECTED), 15u, 1u << PORT_REF_ROSC);
}

// Put the core on the crystal. Returns false when that doesn't start.
static bool port_starts_crystal(void) {
    PORT_REGISTER(PORT_XOSC_STARTUP) = PORT_XOSC_DELAY;
    PORT_REGISTER(PORT_XOSC_CTRL) = PORT_XOSC_ENABLE;
    if (!port_waits(&PORT_REGISTER(PORT_XOSC_STATUS), PORT_XOSC_STABLE, PORT_XOSC_STABLE)) {
        PORT_REGISTER(PORT_XOSC_CTRL) = PORT_XOSC_DISABLE;
        return false;
    }
    PORT_REGISTER(PORT_CLK_REF_CTRL) = PORT_REF_XOSC;
    return port_waits(&PORT_REGISTER(PORT_CLK_REF_SELECTED), 15u, 1u << PORT_REF_XOSC);
}

// Run from the PLL at BOARD_CLOCK_HZ. Returns false when that can't be, and leaves the core on the
// crystal.
static bool port_starts_pll(void) {
    if (!port_restarts(PORT_RESET_PLL_SYS)) {
        return false;
    }
    // RP2040 2.18.3, RP2350 8.6.4: the loop first, its dividers when it has locked.
    PORT_REGISTER(PORT_PLL_CS) = 1u;  // the crystal, undivided
    PORT_REGISTER(PORT_PLL_FBDIV) = PORT_FEEDBACK;
    PORT_CLEAR(PORT_PLL_PWR) = PORT_PWR_PD | PORT_PWR_VCOPD;
    if (!port_waits(&PORT_REGISTER(PORT_PLL_CS), PORT_CS_LOCK, PORT_CS_LOCK)) {
        PORT_SET(PORT_PLL_PWR) = PORT_PWR_PD | PORT_PWR_VCOPD;
        return false;
    }
    PORT_REGISTER(PORT_PLL_PRIM) = PORT_POSTDIV1 << 16 | PORT_POSTDIV2 << 12;
    PORT_CLEAR(PORT_PLL_PWR) = PORT_PWR_POSTDIVPD;
    PORT_REGISTER(PORT_CLK_SYS_CTRL) = PORT_SYS_REF;  // chooses the auxiliary source, to begin with
    PORT_REGISTER(PORT_CLK_SYS_CTRL) = PORT_SYS_AUX;
    if (!port_waits(&PORT_REGISTER(PORT_CLK_SYS_SELECTED), PORT_SYS_SELECTED_MASK,
                    1u << PORT_SYS_AUX)) {
        PORT_REGISTER(PORT_CLK_SYS_CTRL) = PORT_SYS_REF;
        return false;
    }
    return true;
}

void port_start_clock(void) {
    if (!port_starts_slow() || !port_starts_crystal()) {
        return;
    }
    port_hz = BOARD_XOSC_HZ;
    if (port_starts_pll()) {
        port_hz = BOARD_CLOCK_HZ;
    }
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
