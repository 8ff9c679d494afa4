// fixed_multiply where a compiler makes too much of 64 bits: as one function for all files.

#include "fixed_point.h"

#if defined(__AVR__)
#define FIXED_CARRY(to) "adc %" to ", %[zero]\n\t"

// Add a product of bytes to two bytes; FIXED_CARRY passes its carry on.
#define FIXED_ADD(a, b, low, high)                                                                 \
    "mul %" a ", %" b "\n\t"                                                                       \
    "add %" low ", r0\n\t"                                                                         \
    "adc %" high ", r1\n\t"

int32_t fixed_multiply(int32_t value, const FLASH_DATA fixed_scale_t *scale) {
    int32_t multiplier, result;
    uint8_t below;  // the byte below the result
    uint8_t shift, rows;
    // clang-format off
    __asm__(
        "lpm %A[multiplier], Z+\n\t"
        "lpm %B[multiplier], Z+\n\t"
        "lpm %C[multiplier], Z+\n\t"
        "lpm %D[multiplier], Z+\n\t"
        "lpm %[shift], Z\n\t"
        // Doubled, so that what is wanted is the product's upper half.
        "lsl %A[multiplier]\n\t"
        "rol %B[multiplier]\n\t"
        "rol %C[multiplier]\n\t"
        "rol %D[multiplier]\n\t"
        "neg %[shift]\n\t"
        "brpl 2f\n\t"
        "1: lsl %A[value]\n\t"
        "rol %B[value]\n\t"
        "rol %C[value]\n\t"
        "rol %D[value]\n\t"
        "inc %[shift]\n\t"
        "brne 1b\n\t"
        // As if the value had no sign.
        "2: ldi %[rows], 4\n\t"
        "clr %A[result]\n\t"
        "clr %B[result]\n\t"
        "movw %C[result], %A[result]\n\t"
        "1: mov %[below], %A[result]\n\t"
        "mov %A[result], %B[result]\n\t"
        "mov %B[result], %C[result]\n\t"
        "mov %C[result], %D[result]\n\t"
        "clr %D[result]\n\t"
        FIXED_ADD("A[value]", "A[multiplier]", "[below]", "A[result]") FIXED_CARRY("B[result]")
        FIXED_CARRY("C[result]") FIXED_CARRY("D[result]")
        FIXED_ADD("A[value]", "B[multiplier]", "A[result]", "B[result]")
        FIXED_CARRY("C[result]") FIXED_CARRY("D[result]")
        FIXED_ADD("A[value]", "C[multiplier]", "B[result]", "C[result]")
        FIXED_CARRY("D[result]")
        FIXED_ADD("A[value]", "D[multiplier]", "C[result]", "D[result]")
        "mov %A[value], %B[value]\n\t"
        "mov %B[value], %C[value]\n\t"
        "mov %C[value], %D[value]\n\t"
        "dec %[rows]\n\t"
        "brne 1b\n\t"
        // A negative value was taken for 2^32 more.
        "tst %D[value]\n\t"
        "brpl 3f\n\t"
        "sub %A[result], %A[multiplier]\n\t"
        "sbc %B[result], %B[multiplier]\n\t"
        "sbc %C[result], %C[multiplier]\n\t"
        "sbc %D[result], %D[multiplier]\n\t"
        // Halves go up.
        "3: lsl %[below]\n\t"
        FIXED_CARRY("A[result]") FIXED_CARRY("B[result]") FIXED_CARRY("C[result]")
        FIXED_CARRY("D[result]")
        "tst %[shift]\n\t"
        "breq 6f\n\t"
        // Halves go away from zero: the last bit shifted out rounds up, with one less where the
        // value is negative.
        "lsl %D[value]\n\t"
        "sbc %A[result], %[zero]\n\t"
        "sbc %B[result], %[zero]\n\t"
        "sbc %C[result], %[zero]\n\t"
        "sbc %D[result], %[zero]\n\t"
        // By bytes first, as long as bits are left: the carry comes from them.
        "4: cpi %[shift], 9\n\t"
        "brlo 5f\n\t"
        "mov %A[result], %B[result]\n\t"
        "mov %B[result], %C[result]\n\t"
        "mov %C[result], %D[result]\n\t"
        "lsl %D[result]\n\t"
        "sbc %D[result], %D[result]\n\t"
        "subi %[shift], 8\n\t"
        "rjmp 4b\n\t"
        "5: asr %D[result]\n\t"
        "ror %C[result]\n\t"
        "ror %B[result]\n\t"
        "ror %A[result]\n\t"
        "dec %[shift]\n\t"
        "brne 5b\n\t"
        FIXED_CARRY("A[result]") FIXED_CARRY("B[result]") FIXED_CARRY("C[result]")
        FIXED_CARRY("D[result]")
        "6: clr __zero_reg__"
        : [value] "+r"(value), [multiplier] "=&r"(multiplier), [result] "=&r"(result),
          [shift] "=&d"(shift), [below] "=&r"(below), [rows] "=&d"(rows), "+z"(scale)
        : [zero] "r"((uint8_t)0)
        : "r0");
    // clang-format on
    return result;
}
#endif

// For cores whose product has 32 bits: from products of 16 bits, as one function.
#if FIXED_HALVES
int32_t fixed_multiply_by(int32_t value, int32_t multiplier, int shift) {
    if (shift > 0) {
        value = (int32_t)((uint32_t)value << shift);
        shift = 0;
    }
    // With a signed lower half, |low| <= 2^15 and |high| <= 2^14: no sum below passes 32 bits.
    int32_t low = (int16_t)value;
    int32_t high = (value - low) >> 16;
    int32_t multiplier_low = (uint16_t)multiplier;
    int32_t multiplier_high = multiplier >> 16;
    int32_t middle = ((low * multiplier_low) >> 16) + low * multiplier_high + high * multiplier_low;
    int32_t result = 2 * high * multiplier_high + ((middle + (INT32_C(1) << 14)) >> 15);
    if (shift < 0) {
        // fixed_rounding_divide, its half added after all of the shift but the last bit.
        result = (((result - (result < 0)) >> (-1 - shift)) + 1) >> 1;
    }
    return result;
}
#endif
