// Where an RP2040 has its blocks, and what its PLL makes. Sections are of Raspberry Pi's RP2040
// Datasheet.

#ifndef SHELFCAST_RP2_CHIP_H
#define SHELFCAST_RP2_CHIP_H

#include "board.h"

// 2.14.3: resets of the blocks.
#define PORT_RESETS 0x4000c000u
#define PORT_RESET_PLL_SYS (1u << 12)

// 2.15.7: clocks.
#define PORT_CLOCKS 0x40008000u
#define PORT_CLK_RESUS_CTRL (PORT_CLOCKS + 0x78u)
#define PORT_DIV_1 (1u << 8)
#define PORT_SYS_SELECTED_MASK 15u

#define PORT_XOSC 0x40024000u  // 2.16.7
#define PORT_PLL 0x40028000u   // 2.18.4: the system PLL

// 2.18.2: the PLL multiplies the crystal to 750..1600 MHz; two dividers of 1 to 7 follow.
#define PORT_POSTDIV1 6u
#define PORT_POSTDIV2 2u
#if BOARD_CLOCK_HZ < 62500000u || BOARD_CLOCK_HZ > 133000000u
#error "clock_hz must be 62.5 to 133 MHz."
#endif
#if (BOARD_CLOCK_HZ / 1000u * PORT_POSTDIV1 * PORT_POSTDIV2) % (BOARD_XOSC_HZ / 1000u) != 0 ||     \
    BOARD_CLOCK_HZ % 1000u != 0 || BOARD_XOSC_HZ % 1000u != 0
#error "12 times clock_hz must be a multiple of BOARD_XOSC_HZ, both whole kilohertz."
#endif

// 2.17: the ring oscillator, which the chip starts on, has 1.8 to 12 MHz; this is its typical.
#define PORT_ROSC_HZ 6500000u

#endif
