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

// Armv6-M and Armv8-M Baseline multiply 32 bits by 32 into 32.
#if (defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)) && !defined(FIXED_HALVES)
#define FIXED_HALVES 1
#elif !defined(FIXED_HALVES)
#define FIXED_HALVES 0
#endif

// value * scale, rounded twice: the upper half of the product, then the rest of the shift.
// One rounding gives other results. |value| << left shift < 2^30: the generator checks it.
//
// By pointer: where avr-gcc 5.4 splits the copy of a structure in flash (-ftree-sra) it reads RAM.
#if FIXED_HALVES
// The same from products of 16 bits, one copy for all files.
int32_t fixed_multiply_by(int32_t value, int32_t multiplier, int shift);

static inline int32_t fixed_multiply(int32_t value, const FLASH_DATA fixed_scale_t *scale) {
    return fixed_multiply_by(value, scale->multiplier, scale->shift);
}
#elif !defined(__AVR__)
static inline int32_t fixed_multiply(int32_t value, const FLASH_DATA fixed_scale_t *scale) {
    int left = scale->shift > 0 ? scale->shift : 0;
    int right = scale->shift > 0 ? 0 : -scale->shift;
    int64_t product = (int64_t)(value * (int32_t)(UINT32_C(1) << left)) * scale->multiplier;
    return fixed_rounding_divide((int32_t)((product + (INT32_C(1) << 30)) >> 31), right);
}
#else
// In assembly, one copy for all files: AVR multiplies 8 bits at a time and shifts by one.
int32_t fixed_multiply(int32_t value, const FLASH_DATA fixed_scale_t *scale);
#endif

#endif
