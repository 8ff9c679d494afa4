#include "storage.h"

#include <stdbool.h>

#include "crc32.h"
#include "port.h"

static void storage_clear(storage_head_t *state, uint16_t version, uint16_t bytes) {
    uint8_t *next = (uint8_t *)state;
    for (uint16_t left = bytes; left > 0; left--) {
        *next++ = 0;
    }
    state->version = version;
    state->bytes = bytes;
}

#ifdef BOARD_STORAGE_BYTES

static uint8_t storage_slot;  // that the next save goes to

static uint16_t storage_at(uint8_t slot) {
    return slot != 0 ? (uint16_t)STORAGE_SLOT_BYTES : 0;
}

// The CRC of a state, over all that comes before its place.
static uint32_t storage_crc(const storage_head_t *state, uint16_t bytes) {
    return crc32_of(state, bytes - sizeof(storage_crc_t));
}

static storage_crc_t *storage_crc_in(storage_head_t *state, uint16_t bytes) {
    return (storage_crc_t *)(void *)((uint8_t *)state + bytes - sizeof(storage_crc_t));
}

// Read a slot. Returns whether it holds a whole state of this layout.
static bool storage_take(uint8_t slot, storage_head_t *state, uint16_t version, uint16_t bytes) {
    port_storage_read(storage_at(slot), (uint8_t *)state, bytes);
    return state->version == version && state->bytes == bytes &&
           *storage_crc_in(state, bytes) == storage_crc(state, bytes);
}

int storage_load(storage_head_t *state, uint16_t version, uint16_t bytes) {
    const bool second = storage_take(1, state, version, bytes);
    const uint32_t generation = state->generation;
    if (storage_take(0, state, version, bytes)) {
        // Generations are compared as they count, past their largest too.
        if (!second || (int32_t)(generation - state->generation) < 0) {
            storage_slot = 1;
            return STORAGE_OK;
        }
    }
    storage_slot = 0;
    if (second && storage_take(1, state, version, bytes)) {
        return STORAGE_OK;
    }
    storage_clear(state, version, bytes);
    return STORAGE_NONE;
}

int storage_save(storage_head_t *state) {
    const uint8_t *next = (const uint8_t *)state;
    const uint16_t start = storage_at(storage_slot);
    state->generation++;
    *storage_crc_in(state, state->bytes) = storage_crc(state, state->bytes);
    port_storage_write(start, next, state->bytes);
    for (uint16_t i = 0; i < state->bytes; i++) {
        uint8_t byte;
        port_storage_read((uint16_t)(start + i), &byte, 1);
        if (byte != *next++) {
            return STORAGE_FAILED;
        }
    }
    storage_slot ^= 1u;
    return STORAGE_OK;
}

#else

int storage_load(storage_head_t *state, uint16_t version, uint16_t bytes) {
    storage_clear(state, version, bytes);
    return STORAGE_NONE;
}

int storage_save(storage_head_t *state) {
    (void)state;
    return STORAGE_FAILED;
}

#endif
