#include "softmax.h"

#include "config.h"
#include "fixed_point.h"

#if DENSE_HAS_SOFTMAX

// The upper half of a product, doubled, halves up: Q0.31 times Qm.n is Qm.n.
static int32_t softmax_product(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + (INT32_C(1) << 30)) >> 31);
}

// 1 / (1 + x) for x of 0..1, both in Q0.31.
static int32_t softmax_inverse(int32_t x) {
    const int32_t half_denominator = (int32_t)(((uint32_t)x + UINT32_C(0x80000000)) >> 1);
    // 48/17 - 32/17 d in Q2.29 is the best line to begin with; each step doubles the right bits.
    int32_t guess = INT32_C(1515870810) + softmax_product(half_denominator, INT32_C(-1010580540));
    for (uint8_t left = 3; left > 0; left--) {
        const int32_t missing = (INT32_C(1) << 29) - softmax_product(half_denominator, guess);
        guess += softmax_product(guess, missing) * 4;
    }
    return guess > INT32_MAX / 2 ? INT32_MAX : guess * 2;
}

void softmax_forward(int8_t *values, const FLASH_DATA int32_t *exponentials, uint16_t size) {
    const int8_t *end = values + size;
    int8_t largest = INT8_MIN;
    for (const int8_t *value = values; value != end; value++) {
        largest = *value > largest ? *value : largest;
    }
    uint32_t sum = 0;  // Q12.19, never 0: the largest value gives 1
    for (const int8_t *value = values; value != end; value++) {
        sum += ((uint32_t)exponentials[largest - *value] + (UINT32_C(1) << 11)) >> 12;
    }
    // The sum is 2^whole_bits (1 + x).
    uint8_t whole_bits = 12;
    while (sum < UINT32_C(0x80000000)) {
        sum <<= 1;
        whole_bits--;
    }
    const int32_t inverse = softmax_inverse((int32_t)(sum - UINT32_C(0x80000000)));
    for (; values != end; values++) {
        const int32_t share = softmax_product(inverse, exponentials[largest - *values]);
        // The shift is 23..31 and the share up to 31 bits: its half is added past them.
        const uint32_t rounded =
            ((uint32_t)share + (UINT32_C(1) << (whole_bits + 22))) >> (whole_bits + 23);
        *values = (int8_t)((rounded > 255 ? INT32_C(255) : (int32_t)rounded) - 128);
    }
}

#endif
