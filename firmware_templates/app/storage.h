// A block of state that outlives a power cut: two slots, written in turn, each with a CRC.
//
// A save goes to the slot that does not hold the state as it is, and ends with its CRC: a cut at
// any moment leaves the old state or the new one. What boards have for it is in port.h; without
// any, nothing is kept. docs/shelf.md has the layout and the wear.

#ifndef SHELFCAST_STORAGE_H
#define SHELFCAST_STORAGE_H

#include <stdint.h>

#include "board.h"

// First and last in what is stored; in between, the state. All of it is a multiple of 4 bytes.
typedef struct {
    uint16_t version;     // of the layout of what follows
    uint16_t bytes;       // of all, this and the CRC included
    uint32_t generation;  // counts saves
} storage_head_t;

typedef uint32_t storage_crc_t;

#ifdef BOARD_STORAGE_BYTES
#define STORAGE_SLOT_BYTES (BOARD_STORAGE_BYTES / 2u)
#define STORAGE_KIND BOARD_STORAGE_KIND
#else
#define STORAGE_KIND "none"
#endif

enum storage_status {
    STORAGE_OK = 0,
    STORAGE_NONE = -1,    // nothing was ever stored in this layout
    STORAGE_FAILED = -2,  // what was written cannot be read back, or there is nowhere to write
};

// Find the newest whole state of a layout and copy it to `state`. With STORAGE_NONE it is all zero
// but for its head.
int storage_load(storage_head_t *state, uint16_t version, uint16_t bytes);

// Save `state`: counts its generation, and writes its CRC into its last 4 bytes.
int storage_save(storage_head_t *state);

#endif
