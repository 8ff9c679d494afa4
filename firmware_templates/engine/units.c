#include "units.h"

#include <stdbool.h>

// Bit by bit, in 32 bits: on AVR, 64 bits and a real division would cost a kilobyte of flash.

#define UNITS_SCALE_BITS 24  // of a scale's fraction
#define UNITS_FAR 8u         // deviations: beyond low and high
#define UNITS_MOST_STEPS 511

int8_t units_quantize(int32_t units, const FLASH_DATA units_format_t *format,
                      const units_scaling_t *shelf) {
    // Neither is negative: the difference has 32 bits.
    const int32_t difference = units - shelf->mean;
    const uint32_t deviation = (uint32_t)shelf->deviation;
    uint32_t rest = (uint32_t)(difference < 0 ? -difference : difference);
    // distance / deviation, rounded down to Q3.24, or at least UNITS_FAR.
    uint32_t ratio = 0;
    for (; rest >= deviation && ratio < UNITS_FAR; ratio++) {
        rest -= deviation;
    }
    for (uint8_t bit = 0; bit < UNITS_SCALE_BITS; bit++) {
        rest <<= 1;
        ratio <<= 1;
        if (rest >= deviation) {
            rest -= deviation;
            ratio++;
        }
    }
    // ratio / scale, rounded: what rounding down took above cannot change it, for half a scale is
    // a whole number.
    ratio += format->scale >> 1;
    int16_t steps = 0;
    for (; ratio >= format->scale && steps < UNITS_MOST_STEPS; steps++) {
        ratio -= format->scale;
    }
    const int16_t value = (int16_t)(format->zero_point + (difference < 0 ? -steps : steps));
    return (int8_t)(value < format->low    ? format->low
                    : value > format->high ? format->high
                                           : value);
}

int32_t units_dequantize(int8_t value, const FLASH_DATA units_format_t *format,
                         const units_scaling_t *shelf) {
    const int16_t steps = (int16_t)(value - format->zero_point);
    const bool below = steps < 0;
    const uint32_t deviation = (uint32_t)shelf->deviation;
    // How many deviations: Q8.24.
    uint32_t ratio = (uint32_t)(below ? -steps : steps) * format->scale;
    // Of a deviation, the fraction of the ratio; from its last bit up, so that what is shifted out
    // is never needed again, but for the last half.
    uint32_t distance = 0;
    bool half = false;
    for (uint8_t bit = 0; bit < UNITS_SCALE_BITS; bit++) {
        if ((ratio & 1u) != 0) {
            distance += deviation;
        }
        half = (distance & 1u) != 0;
        distance >>= 1;
        ratio >>= 1;
    }
    distance += half;
    const uint32_t room = (uint32_t)(below ? shelf->mean : INT32_MAX - shelf->mean);
    // Whole deviations, as long as there is room.
    for (; ratio > 0 && distance <= room; ratio--) {
        distance += deviation;
    }
    if (distance > room) {
        distance = room;
    }
    return below ? shelf->mean - (int32_t)distance : shelf->mean + (int32_t)distance;
}
