// From units sold to the model's int8 values and back, with the shelf's own scaling.
//
// A shelf has a mean and a deviation of its own, set while the device runs; what the model wants is
// (units - mean) / deviation, in steps of its input's scale. Integers throughout, one rounding,
// halves away from zero; toolchain/graph/units.py is the same in Python, and docs/numerics.md has
// the bounds.

#ifndef SHELFCAST_UNITS_H
#define SHELFCAST_UNITS_H

#include <stdint.h>

#include "flash.h"

// Units, means and deviations are Q15.16 and never negative.
#define UNITS_ONE (INT32_C(1) << 16)

// How much a shelf sells.
typedef struct {
    int32_t mean;       // Q15.16, at least 0
    int32_t deviation;  // Q15.16, above 0
} units_scaling_t;

// An int8 value of the model: deviations = scale * (value - zero_point).
typedef struct {
    uint32_t scale;  // Q0.24, even, at least 2: a step is less than a deviation
    int8_t zero_point;
    int8_t low;  // what a value is clamped to, less than 8 deviations from the mean
    int8_t high;
} units_format_t;

// The value nearest to units (Q15.16, at least 0), clamped to low..high.
int8_t units_quantize(int32_t units, const FLASH_DATA units_format_t *format,
                      const units_scaling_t *shelf);

// The units (Q15.16) that a value stands for: 0 where that is less, INT32_MAX where it is more.
int32_t units_dequantize(int8_t value, const FLASH_DATA units_format_t *format,
                         const units_scaling_t *shelf);

#endif
