#include "activation.h"

// Kernels that read another table have activations of their own.
#if !ACTIVATION_TABLE_POSITIVE && !ACTIVATION_TABLE_SIGNED

// The table at magnitude / 2^bits, with `bits` more bits of fraction. The knot is below 255.
static int32_t activation_line(uint32_t magnitude, unsigned bits) {
    uint32_t knot = magnitude >> bits;
    uint32_t low = activation_table[knot];
    uint32_t high = activation_table[knot + 1];
    uint32_t fraction = magnitude & ((UINT32_C(1) << bits) - 1);
    return (int32_t)((low << bits) + fraction * (high - low));
}

int16_t activation_sigmoid(int16_t value) {
    // The table has 24 knots per unit and the value 4096 steps: 3/512 knots per step.
    int32_t scaled = (int32_t)value * 3;
    uint32_t magnitude = (uint32_t)(scaled < 0 ? -scaled : scaled);
    int32_t line = (magnitude >> 9) >= 255 ? INT32_C(0x7FFF) << 10 : activation_line(magnitude, 9);
    int32_t half = INT32_C(1) << 9;
    return (int16_t)((scaled >= 0 ? line + half : (INT32_C(1) << 25) - line + half - 1) >> 10);
}

int16_t activation_tanh(int16_t value, int8_t scale_power) {
    // tanh(x) = 2 sigmoid(2 x) - 1: the same knots, twice as far apart.
    int left = scale_power + 12;
    int32_t scaled = (int32_t)value * 3;
    if (left >= 0) {
        scaled *= INT32_C(1) << left;
    } else {
        scaled = (scaled + (INT32_C(1) << (-left - 1))) >> -left;
    }
    uint32_t magnitude = (uint32_t)(scaled < 0 ? -scaled : scaled);
    int32_t line = (magnitude >> 8) >= 255 ? INT32_C(0xFFFF) << 8 : activation_line(magnitude, 8);
    int32_t one = INT32_C(1) << 23;
    int32_t half = INT32_C(1) << 7;
    return (int16_t)((scaled >= 0 ? line - one + half : one - line + half - 1) >> 8);
}

#endif
