// CRC-32 as zlib computes it (reflected polynomial 0xEDB88320), a byte at a time.

#ifndef SHELFCAST_CRC32_H
#define SHELFCAST_CRC32_H

#include <stddef.h>
#include <stdint.h>

#define CRC32_START 0xffffffffu

// Take one more byte into a running CRC that began as CRC32_START.
uint32_t crc32_update(uint32_t running, uint8_t byte);

// The CRC of what has been taken so far; `running` may go on.
static inline uint32_t crc32_value(uint32_t running) {
    return ~running;
}

// The CRC of `length` bytes.
uint32_t crc32_of(const void *bytes, size_t length);

#endif
