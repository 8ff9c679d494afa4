// Where an RP2350 has its blocks, and what its PLL makes. Sections are of Raspberry Pi's RP2350
// Datasheet.

#ifndef SHELFCAST_RP2_CHIP_H
#define SHELFCAST_RP2_CHIP_H

#include "board.h"

// 7.5.3: resets of the blocks.
#define PORT_RESETS 0x40020000u
#define PORT_RESET_PLL_SYS (1u << 14)

// 8.1.6: clocks.
#define PORT_CLOCKS 0x40010000u
#define PORT_CLK_RESUS_CTRL (PORT_CLOCKS + 0x84u)
#define PORT_DIV_1 (1u << 16)
#define PORT_SYS_SELECTED_MASK 3u

#define PORT_XOSC 0x40048000u  // 8.2.8
#define PORT_PLL 0x40050000u   // 8.6.5: the system PLL

// 8.6.3: the PLL multiplies the crystal to 750..1600 MHz; two dividers of 1 to 7 follow. 150 MHz is
// what the core's voltage after a reset is for.
#define PORT_POSTDIV1 5u
#define PORT_POSTDIV2 2u
#if BOARD_CLOCK_HZ < 75000000u || BOARD_CLOCK_HZ > 150000000u
#error "clock_hz must be 75 to 150 MHz."
#endif
#if (BOARD_CLOCK_HZ / 1000u * PORT_POSTDIV1 * PORT_POSTDIV2) % (BOARD_XOSC_HZ / 1000u) != 0 ||     \
    BOARD_CLOCK_HZ % 1000u != 0 || BOARD_XOSC_HZ % 1000u != 0
#error "10 times clock_hz must be a multiple of BOARD_XOSC_HZ, both whole kilohertz."
#endif

// 8.3: the ring oscillator, which the chip starts on, varies widely; this is its typical.
#define PORT_ROSC_HZ 11000000u

#endif
