// Clocks and resets of the RP2040 and the RP2350. Each family's rp2_chip.h says where its blocks
// are, and what its PLL makes.

#ifndef SHELFCAST_RP2_CLOCK_H
#define SHELFCAST_RP2_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

// Put blocks into reset, and let them out. Returns false when they don't come out.
bool port_restarts(uint32_t blocks);

// Run the core from the PLL at BOARD_CLOCK_HZ; when that can't be, from the crystal, and when that
// can't be, from the ring oscillator.
void port_start_clock(void);

#endif
