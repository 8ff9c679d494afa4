// The storage of a host: a file that behaves as flash does, byte for byte.
//
// Erasing a page makes it all ones; writing a word can only make zeros of ones. CUT=n ends the
// program after n of these, with exit code 42; with TORN=1 the one after them happens by half.

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port.h"

#ifdef BOARD_STORAGE_BYTES

#define STORAGE_PAGE_BYTES 1024u

static uint8_t storage_cells[BOARD_STORAGE_BYTES];
static long storage_left = -2;  // until the cut; -1: there is none, -2: not asked yet

static void storage_open(void) {
    if (storage_left != -2) {
        return;
    }
    const char *cut = getenv("CUT");
    storage_left = cut != NULL ? atol(cut) : -1;
    memset(storage_cells, 0xff, sizeof storage_cells);
    FILE *file = fopen(getenv("STORAGE"), "rb");
    if (file != NULL) {
        if (fread(storage_cells, sizeof storage_cells, 1, file) != 1) {
            abort();
        }
        (void)fclose(file);
    }
}

static void storage_close(void) {
    FILE *file = fopen(getenv("STORAGE"), "wb");
    if (file == NULL || fwrite(storage_cells, sizeof storage_cells, 1, file) != 1 ||
        fclose(file) != 0) {
        abort();
    }
}

// Change `count` cells: clear the bits that are not in `bytes`, or set all cells to `set`.
static void storage_change(uint32_t at, const uint8_t *bytes, uint32_t count, uint8_t set) {
    const bool cut = storage_left == 0;
    if (cut) {
        if (getenv("TORN") == NULL) {
            count = 0;
        }
        count /= 2;
    }
    for (uint32_t i = 0; i < count; i++) {
        storage_cells[at + i] = bytes != NULL ? (uint8_t)(storage_cells[at + i] & bytes[i]) : set;
    }
    if (cut) {
        storage_close();
        (void)fflush(stdout);
        _Exit(42);
    }
    if (storage_left > 0) {
        storage_left--;
    }
}

void port_storage_read(uint16_t at, uint8_t *bytes, uint16_t count) {
    storage_open();
    memcpy(bytes, storage_cells + at, count);
}

void port_storage_write(uint16_t at, const uint8_t *bytes, uint16_t count) {
    storage_open();
    for (uint32_t page = at; page < (uint32_t)at + count; page += STORAGE_PAGE_BYTES) {
        storage_change(page, NULL, STORAGE_PAGE_BYTES, 0xff);
    }
    for (uint16_t i = 0; i < count; i = (uint16_t)(i + 4u)) {
        storage_change((uint32_t)at + i, bytes + i, 4, 0);
    }
    storage_close();
}

#endif
