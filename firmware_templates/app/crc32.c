#include "crc32.h"

#include "flash.h"

// Remainders of the 16 values of four bits: 64 bytes of flash, two look-ups a byte.
static const FLASH_DATA uint32_t crc32_nibbles[16] = {
    0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
    0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
    0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
};

uint32_t crc32_update(uint32_t running, uint8_t byte) {
    running ^= byte;
    running = (running >> 4) ^ crc32_nibbles[running & 15u];
    return (running >> 4) ^ crc32_nibbles[running & 15u];
}

uint32_t crc32_of(const void *bytes, size_t length) {
    const uint8_t *next = bytes;
    uint32_t running = CRC32_START;
    while (length-- > 0) {
        running = crc32_update(running, *next++);
    }
    return crc32_value(running);
}
