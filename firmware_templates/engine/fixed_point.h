// Fixed-point arithmetic, equal bit for bit to TFLite Micro's reference kernels.
//
// docs/numerics.md has the equations; toolchain/graph/fixed_point.py is the same in Python.

#ifndef SHELFCAST_FIXED_POINT_H
#define SHELFCAST_FIXED_POINT_H

#include <stdint.h>

#include "flash.h"

#if (-1 >> 1) != -1
#error "the engine needs an arithmetic right shift of negative numbers"
#endif

// A real factor as multiplier * 2^(shift - 31).
typedef struct {
    int32_t multiplier;  // 31 bits, never negative
    int8_t shift;        // -31..30; positive shifts left before the multiplication
} fixed_scale_t;

static inline int32_t fixed_clamp(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

static inline int16_t fixed_saturate16(int32_t value) {
    return (int16_t)fixed_clamp(value, INT16_MIN, INT16_MAX);
}

// Every constant has its width spelled out: on AVR an int has 16 bits.

// value / 2^exponent, halves away from zero. |value| < 2^30, exponent 0..31.
static inline int32_t fixed_rounding_divide(int32_t value, int exponent) {
    if (exponent == 0) {
        return value;
    }
    // Adding a half rounds halves up; one less does so for negative numbers, away from zero.
    return (value + (int32_t)(UINT32_C(1) << (exponent - 1)) - (value < 0)) >> exponent;
}

// AVR multiplies 8 bits at a time and shifts by one.
#if defined(__AVR__) && !defined(FIXED_NARROW)
#define FIXED_NARROW 1
#elif !defined(FIXED_NARROW)
#define FIXED_NARROW 0
#endif

// value * scale, rounded twice: the upper half of the product, then the rest of the shift.
// One rounding gives other results. |value| << left shift < 2^30: the generator checks it.
//
// By pointer: where avr-gcc 5.4 splits the copy of a structure in flash (-ftree-sra) it reads RAM.
#if !FIXED_NARROW
static inline int32_t fixed_multiply(int32_t value, const FLASH_DATA fixed_scale_t *scale) {
    int left = scale->shift > 0 ? scale->shift : 0;
    int right = scale->shift > 0 ? 0 : -scale->shift;
    int64_t product = (int64_t)(value * (int32_t)(UINT32_C(1) << left)) * scale->multiplier;
    return fixed_rounding_divide((int32_t)((product + (INT32_C(1) << 30)) >> 31), right);
}
#else
// a * b, each kept from the compiler's knowledge: it would widen them once for several products,
// and then multiply 32 bits by 32.
static inline uint32_t fixed_product(uint16_t a, uint16_t b) {
    __asm__("" : "+r"(a), "+r"(b));
    return (uint32_t)a * b;
}

static inline int32_t fixed_signed_product(int16_t a, uint16_t b) {
    __asm__("" : "+r"(a), "+r"(b));
    return (int32_t)a * b;
}

// The same from products of 16 bits, with one shift by a variable, and one copy a file: twice as
// fast as with 64 bits, and shorter.
__attribute__((noinline, unused)) static int32_t
fixed_multiply(int32_t value, const FLASH_DATA fixed_scale_t *scale) {
    int8_t shift = scale->shift;
    if (shift > 0) {
        value = (int32_t)((uint32_t)value << shift);
        shift = 0;
    }
    int16_t value_high = (int16_t)(value >> 16);
    uint16_t value_low = (uint16_t)value;
    uint16_t high = (uint16_t)((uint32_t)scale->multiplier >> 16);
    uint16_t low = (uint16_t)scale->multiplier;
    uint32_t mixed = fixed_product(value_low, high) + (fixed_product(value_low, low) >> 16);
    int32_t crossed = fixed_signed_product(value_high, low);
    uint32_t middle = (uint32_t)(uint16_t)mixed + (uint16_t)crossed;  // 2^16 to 2^32 of the product
    int32_t upper = fixed_signed_product(value_high, high) + (int32_t)(mixed >> 16) +
                    (crossed >> 16) + (int32_t)(middle >> 16);
    // Halves up: bit 31 of the product is the last of the result, bit 30 is what is rounded.
    uint16_t rounded = (uint16_t)(((uint16_t)middle >> 1) + 0x2000u) >> 14;
    int32_t result = (int32_t)((uint32_t)upper << 1) + rounded;
    if (shift == 0) {
        return result;
    }
    // fixed_rounding_divide, its half added after all of the shift but the last bit.
    result -= result < 0;
    uint8_t rest = (uint8_t)(-1 - shift);
    while (rest >= 8) {
        result >>= 8;
        rest = (uint8_t)(rest - 8);
    }
    return ((result >> rest) + 1) >> 1;
}
#endif

#endif
