// The whole porting contract: what the console needs from a board.
//
// A family of boards implements it in boards/<family>/port.c; the core's start-up code
// (boards/<core>/startup.c) may take over the functions marked "core" for all families it serves.
// Nothing else in the firmware knows a register. Constants of the board come from board.h.
//
// Every wait in a port is bounded: a crystal that does not start, or a peripheral an emulator does
// not model, must not hang the board.

#ifndef SHELFCAST_PORT_H
#define SHELFCAST_PORT_H

#include <stdint.h>

#include "board.h"

// Bring up the clock and the serial port (BOARD_UART_BAUD, 8N1). Called once, first thing in main.
// With no crystal the board runs on what it has, and says so through port_clock_hz.
void port_init(void);

// Send one byte; waits for room. Works inside a fault handler: it needs no interrupt.
void port_put(uint8_t byte);

// Next byte received, 0..255, or -1 when none came. May sleep until the next interrupt before it
// says so. A byte the line damaged may be delivered as it is: the console checks CRCs.
int port_get(void);

// Frequency of port_ticks in Hz as the board runs now: BOARD_CLOCK_HZ, unless it had to fall back.
uint32_t port_clock_hz(void);

// Start a measurement: port_ticks counts from 0.                                       (core)
void port_start_ticks(void);

// Ticks since port_start_ticks, modulo 2^32.                                           (core)
uint32_t port_ticks(void);

// Bytes of RAM that variables occupy, without the stack.                               (core)
uint32_t port_static_bytes(void);

// Bytes the stack may use before it meets the variables.                               (core)
uint32_t port_stack_bytes(void);

// Bytes the stack has used since the reset: its high-water mark.                       (core)
uint32_t port_stack_used(void);

// Reset the chip, after what port_put took has left. Returns when nothing resets it. Works inside a
// fault handler. Defined by families whose core cannot reset the chip by itself.
void port_restart(void);

// Every interrupt of the chip's peripherals ends here, where the core has a table of them.
// Defined by the family.
void port_interrupt(void);

#ifdef BOARD_STORAGE_BYTES
// Storage of BOARD_STORAGE_BYTES that outlives a power cut; addresses count from its start.
// Declared by profiles with a [storage]; their family defines it.

// Read bytes.
void port_storage_read(uint16_t at, uint8_t *bytes, uint16_t count);

// Write bytes, what must be erased for them before: from the start of one of the storage's halves,
// at most a half, a multiple of 4. In ascending order: the last bytes are written last. Every wait
// is bounded; the caller reads back what was written.
void port_storage_write(uint16_t at, const uint8_t *bytes, uint16_t count);
#endif

#endif
