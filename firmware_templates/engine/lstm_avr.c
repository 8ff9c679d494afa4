// The kernel for AVR: 8 bits, products of bytes, weights read from flash a byte at a time.
//
// Where the compiler would compute with 32 bits, or keep on the stack what fits the registers,
// there is assembly, and beside it the same in C, which says what is computed and is what the
// host's tests run. Cycles are those of the data sheet: a load from RAM 2, from flash 3, a product
// of bytes 2, nearly all else 1.
//
// Weights and values are kept as bytes plus 128. A product without a sign has no sign to extend: it
// takes 5 cycles beside the 3 of reading its weight. What the 128s add comes off once per row.
//
// toolchain/firmware/kernels/avr.py lays out what is read here.

#include <stddef.h>

#include "activation.h"
#include "config.h"
#include "fixed_point.h"
#include "flash.h"
#include "lstm.h"

#if ACTIVATION_TABLE_SIGNED || ACTIVATION_TABLE_POSITIVE
#error "the kernel reads the table of 256 knots"
#endif

#if defined(__AVR__)
#define LSTM_ASSEMBLY 1
typedef __int24 lstm_sum_t;
#else
#define LSTM_ASSEMBLY 0
typedef int32_t lstm_sum_t;
#endif

#define LSTM_INLINE static inline __attribute__((always_inline))
#define LSTM_CALLED static __attribute__((noinline))
#if FORECAST_PREFER_SIZE
#define LSTM_SHORT LSTM_CALLED
#else
#define LSTM_SHORT LSTM_INLINE
#endif

// Keep the compiler from computing what follows from a value ahead of a loop: it would be kept on
// the stack.
#define LSTM_KEEP(value) __asm__("" : "+r"(value))

// Order of the gates in every array here.
enum {
    GATE_INPUT,
    GATE_FORGET,
    GATE_CELL,
    GATE_OUTPUT,
    GATES
};

// The two matrix products of a step. What is per product and gate has the input's four first.
enum {
    PART_INPUT,
    PART_RECURRENT,
    PARTS
};

#define LSTM_FORMATS (LSTM_INPUT_FORMATS | LSTM_RECURRENT_FORMATS)

// Whether a part's matrix has a format. Known when compiled where all have the same.
#define LSTM_IS(part, name)                                                                        \
    ((LSTM_FORMATS >> (name)&1) != 0 && (LSTM_FORMATS == 1 << (name) || (part)->format == (name)))

// A scale as it is everywhere else, in 8 bytes on the host and on AVR.
typedef union {
    fixed_scale_t scale;
    uint8_t bytes[8];
} lstm_plain_scale_t;

#if !FORECAST_PREFER_SIZE
// The scale multiplier / 2^(32 + n) in parts that are read one after the other.
typedef struct {
    uint8_t multiplier[4];
    uint8_t power;  // 2^(8 - n) for n in 1..8; 0: see `half`
    uint8_t half;   // 2^(n - 1); where power is 0: -n for n in -16..0, 128 + n - 8 for n in 9..24
} lstm_scale_t;
#endif

// What there is to know of the cell's scale, a power of two.
typedef struct {
    int32_t half;  // input gate * cell gate is divided by 2^n: 2^(n - 1) + 1
    int16_t low;   // the cell stays in [low, high]
    int16_t high;
    int8_t right;  // n - 16, -4..5
    int8_t left;   // the scale is 2^(left - 12), -6..3
    uint8_t unused[2];
} lstm_cell_t;

// What layer->constants holds.
typedef struct {
#if FORECAST_PREFER_SIZE
    lstm_plain_scale_t scales[PARTS * GATES];  // sums -> Q3.12
    lstm_plain_scale_t forget_scale;           // forget gate * cell -> cell
    lstm_plain_scale_t update_scale;           // input gate * cell gate -> cell
#else
    lstm_scale_t scales[PARTS * GATES];  // sums -> Q3.12
    uint8_t hidden_multiplier[2];        // hidden_scale is multiplier / 2^(32 + n): the upper half
    uint8_t hidden_power;                // 2^(24 - n) for n in 17..23, or 0
    uint8_t hidden_half;                 // 2^(n - 17)
#endif
    lstm_plain_scale_t hidden_scale;  // tanh(cell) * output gate -> hidden
#if !LSTM_SAME_CELLS
    lstm_cell_t cell;
#endif
} lstm_constants_t;

// What the layers agree about is part of the code.
#if LSTM_SAME_CELLS
static const lstm_cell_t lstm_cell = {
    .half = (INT32_C(1) << (LSTM_CELL_RIGHT + 15)) + 1,
    .low = LSTM_CELL_LOW,
    .high = LSTM_CELL_HIGH,
    .right = LSTM_CELL_RIGHT,
    .left = LSTM_CELL_LEFT,
};
#define LSTM_CELL(constants) (&lstm_cell)
#else
#define LSTM_CELL(constants) (&(constants)->cell)
#endif

// One of the two products, from the next unit on.
typedef struct {
    const FLASH_DATA uint8_t *weights;
    const uint8_t *values;  // plus 128
#if LSTM_HAS_BLOCKS || LSTM_HAS_SCATTERED
    const FLASH_DATA uint8_t *index;
    uint8_t format;
#endif
    uint8_t turns;     // of the loop that computes a row
    uint8_t rest;      // columns of the first turn, 0 for all four
    lstm_sum_t added;  // to each sum by the 128s of the weights: 128 times the values' total
#if !LSTM_ASSEMBLY
    uint16_t columns;
#endif
} lstm_part_t;

// A sum of products; then its value in Q3.12, in the upper 16 bits.
typedef union {
    lstm_sum_t sum;
    struct {
        uint8_t rest[sizeof(lstm_sum_t) - 2];
        int16_t value;
    } gate;
} lstm_gate_t;

#if LSTM_HAS_BLOCKS || LSTM_HAS_SCATTERED || FORECAST_PREFER_SIZE
#define LSTM_ROW LSTM_CALLED
#else
#define LSTM_ROW LSTM_INLINE
#endif

// Rows: biases, plus products, less what the 128s add. Each leaves four sums at `gates`, moves
// `part` on to the next unit, and returns the biases of the next row, 12 bytes on.

#if LSTM_ASSEMBLY

// Add a product of bytes to two bytes, and its carry to a third.
#define LSTM_MULTIPLY(a, b, low, high)                                                             \
    "mul %" a ", %[" b "]\n\t"                                                                     \
    "add %[" low "], r0\n\t"                                                                       \
    "adc %[" high "], r1\n\t"
#define LSTM_CARRY(to) "adc %[" to "], %[zero]\n\t"

// One weight times %[value], added to the 24 bits of a sum.
#define LSTM_ADD(sum)                                                                              \
    "lpm r0, Z+\n\t"                                                                               \
    "mul r0, %[value]\n\t"                                                                         \
    "add %A[" sum "], r0\n\t"                                                                      \
    "adc %B[" sum "], r1\n\t"                                                                      \
    "adc %C[" sum "], %[zero]\n\t"

// A column's four weights times the next value.
#define LSTM_ADD_COLUMN                                                                            \
    "ld %[value], X+\n\t" LSTM_ADD("sum0") LSTM_ADD("sum1") LSTM_ADD("sum2") LSTM_ADD("sum3")

#define LSTM_BEGIN_SUM(sum)                                                                        \
    "lpm %A[" sum "], Z+\n\t"                                                                      \
    "lpm %B[" sum "], Z+\n\t"                                                                      \
    "lpm %C[" sum "], Z+\n\t"

// Begin with the biases. Then Z is the part.
#define LSTM_BEGIN                                                                                 \
    "movw r30, %[bias]\n\t" LSTM_BEGIN_SUM("sum0") LSTM_BEGIN_SUM("sum1") LSTM_BEGIN_SUM("sum2")   \
        LSTM_BEGIN_SUM("sum3") "movw %[bias], r30\n\t"                                             \
                               "movw r30, %[part]\n\t"

// From Z as the part to Z as its weights.
#define LSTM_FIND_WEIGHTS                                                                          \
    "ldd r0, Z+%[weights_at]\n\t"                                                                  \
    "ldd r31, Z+%[weights_at]+1\n\t"                                                               \
    "mov r30, r0\n\t"

// From Z as the next row's weights to Z as the part.
#define LSTM_LEAVE_WEIGHTS                                                                         \
    "movw r26, r30\n\t"                                                                            \
    "movw r30, %[part]\n\t"                                                                        \
    "std Z+%[weights_at], r26\n\t"                                                                 \
    "std Z+%[weights_at]+1, r27\n\t"

// There are too few registers: the biases make room for the index, the part for the values.
#define LSTM_BEGIN_INDEX                                                                           \
    "push %A[bias]\n\t"                                                                            \
    "push %B[bias]\n\t"                                                                            \
    "ldd %A[bias], Z+%[index_at]\n\t"                                                              \
    "ldd %B[bias], Z+%[index_at]+1\n\t"
// From Z as the part to Z as its weights.
#define LSTM_BEGIN_VALUES                                                                          \
    "push %A[part]\n\t"                                                                            \
    "push %B[part]\n\t"                                                                            \
    "ldd %A[part], Z+%[values_at]\n\t"                                                             \
    "ldd %B[part], Z+%[values_at]+1\n\t" LSTM_FIND_WEIGHTS
#define LSTM_END_VALUES                                                                            \
    "pop %B[part]\n\t"                                                                             \
    "pop %A[part]\n\t"
// From Z as the weights to Z as the index, and back.
#define LSTM_FIND_INDEX                                                                            \
    "movw r26, r30\n\t"                                                                            \
    "movw r30, %[bias]\n\t"
#define LSTM_LEAVE_INDEX                                                                           \
    "movw %[bias], r30\n\t"                                                                        \
    "movw r30, r26\n\t"
// With Z as the part.
#define LSTM_END_INDEX                                                                             \
    "std Z+%[index_at], %A[bias]\n\t"                                                              \
    "std Z+%[index_at]+1, %B[bias]\n\t"                                                            \
    "pop %B[bias]\n\t"                                                                             \
    "pop %A[bias]\n\t"

// Subtract r27:r26:r0.
#define LSTM_SUBTRACT(sum)                                                                         \
    "sub %A[" sum "], r0\n\t"                                                                      \
    "sbc %B[" sum "], r26\n\t"                                                                     \
    "sbc %C[" sum "], r27\n\t"
#define LSTM_SUBTRACT_ALL                                                                          \
    LSTM_SUBTRACT("sum0") LSTM_SUBTRACT("sum1") LSTM_SUBTRACT("sum2") LSTM_SUBTRACT("sum3")

#define LSTM_END_SUM(sum)                                                                          \
    "st X+, %A[" sum "]\n\t"                                                                       \
    "st X+, %B[" sum "]\n\t"                                                                       \
    "st X+, %C[" sum "]\n\t"

// Store the sums.
#define LSTM_END                                                                                   \
    "movw r26, %[gates]\n\t" LSTM_END_SUM("sum0") LSTM_END_SUM("sum1") LSTM_END_SUM("sum2")        \
        LSTM_END_SUM("sum3") "clr __zero_reg__"

#define LSTM_MEMBER(name) [name##_at] "i"(offsetof(lstm_part_t, name))

#else

static void lstm_add_column(lstm_sum_t *sums, const uint8_t *weights, uint8_t value) {
    for (int gate = 0; gate < GATES; gate++) {
        sums[gate] += weights[gate] * value;
    }
}

static const uint8_t *lstm_end(lstm_gate_t *gates, const lstm_sum_t *sums, const uint8_t *bias,
                               lstm_sum_t added) {
    for (int gate = 0; gate < GATES; gate++) {
        uint32_t word = (uint32_t)bias[0] << 8 | (uint32_t)bias[1] << 16 | (uint32_t)bias[2] << 24;
        gates[gate].sum = ((int32_t)word >> 8) + sums[gate] - added;
        bias += 3;
    }
    return bias;
}

#endif

// Dense: all columns.
LSTM_ROW const FLASH_DATA uint8_t *
lstm_dense_row(lstm_gate_t *gates, const FLASH_DATA uint8_t *bias, lstm_part_t *part) {
#if LSTM_ASSEMBLY
    lstm_sum_t sum0, sum1, sum2, sum3;
    uint8_t turns, value;
    // clang-format off
    __asm__ volatile(
        LSTM_BEGIN
        "ldd r26, Z+%[values_at]\n\t"
        "ldd r27, Z+%[values_at]+1\n\t"
        "ldd %[turns], Z+%[turns_at]\n\t"
#if FORECAST_PREFER_SIZE
        LSTM_FIND_WEIGHTS
        "1: " LSTM_ADD_COLUMN
        "dec %[turns]\n\t"
        "brne 1b\n\t"
#else
        // Four columns a turn. The first turn begins where a multiple of four is left.
        "ldd %[value], Z+%[rest_at]\n\t"
        LSTM_FIND_WEIGHTS
        "cpi %[value], 2\n\t"
        "breq 2f\n\t"
        "brsh 3f\n\t"
        "tst %[value]\n\t"
        "brne 1f\n\t"
        "4: " LSTM_ADD_COLUMN
        "3: " LSTM_ADD_COLUMN
        "2: " LSTM_ADD_COLUMN
        "1: " LSTM_ADD_COLUMN
        "dec %[turns]\n\t"
        "breq 5f\n\t"
        "rjmp 4b\n\t"
        "5: "
#endif
        LSTM_LEAVE_WEIGHTS
        "ldd r0, Z+%[added_at]\n\t"
        "ldd r26, Z+%[added_at]+1\n\t"
        "ldd r27, Z+%[added_at]+2\n\t"
        LSTM_SUBTRACT_ALL
        LSTM_END
        : [bias] "+r"(bias), [sum0] "=&r"(sum0), [sum1] "=&r"(sum1), [sum2] "=&r"(sum2),
          [sum3] "=&r"(sum3), [turns] "=&r"(turns), [value] "=&d"(value)
        : [gates] "r"(gates), [part] "r"(part), [zero] "r"((uint8_t)0), LSTM_MEMBER(weights),
          LSTM_MEMBER(values), LSTM_MEMBER(turns), LSTM_MEMBER(rest), LSTM_MEMBER(added)
        : "r0", "r26", "r27", "r30", "r31", "memory");
    // clang-format on
    return bias;
#else
    lstm_sum_t sums[GATES] = {0, 0, 0, 0};
    for (uint16_t k = 0; k < part->columns; k++) {
        lstm_add_column(sums, part->weights, part->values[k]);
        part->weights += GATES;
    }
    return lstm_end(gates, sums, bias, part->added);
#endif
}

#if LSTM_HAS_BLOCKS
// The blocks that are there. The 128s of their weights add up with the values they meet.
LSTM_ROW const FLASH_DATA uint8_t *
lstm_blocks_row(lstm_gate_t *gates, const FLASH_DATA uint8_t *bias, lstm_part_t *part) {
#if LSTM_ASSEMBLY
    lstm_sum_t sum0, sum1, sum2, sum3;
    uint16_t total;
    uint8_t turns, value;
    // clang-format off
    __asm__ volatile(
        LSTM_BEGIN
        LSTM_BEGIN_INDEX
        LSTM_BEGIN_VALUES
        LSTM_FIND_INDEX
        "lpm %[turns], Z+\n\t"
        LSTM_LEAVE_INDEX
        "clr %A[total]\n\t"
        "clr %B[total]\n\t"
        "rjmp 2f\n\t"
        "1: " LSTM_FIND_INDEX
        "lpm %[value], Z+\n\t"
        LSTM_LEAVE_INDEX
        "movw r26, %[part]\n\t"
        "lsl %[value]\n\t"
        "add r26, %[value]\n\t"
        "adc r27, %[zero]\n\t"
        LSTM_ADD_COLUMN
        "add %A[total], %[value]\n\t"
        "adc %B[total], %[zero]\n\t"
        LSTM_ADD_COLUMN
        "add %A[total], %[value]\n\t"
        "adc %B[total], %[zero]\n\t"
        "2: subi %[turns], 1\n\t"
        "brcs 3f\n\t"
        "rjmp 1b\n\t"
        "3: " LSTM_END_VALUES
        LSTM_LEAVE_WEIGHTS
        LSTM_END_INDEX
        "clr r0\n\t"
        "movw r26, %[total]\n\t"
        "lsr r27\n\t"
        "ror r26\n\t"
        "ror r0\n\t"
        LSTM_SUBTRACT_ALL
        LSTM_END
        : [bias] "+r"(bias), [part] "+r"(part), [sum0] "=&r"(sum0), [sum1] "=&r"(sum1),
          [sum2] "=&r"(sum2), [sum3] "=&r"(sum3), [turns] "=&d"(turns),
          [value] "=&r"(value), [total] "=&r"(total)
        : [gates] "r"(gates), [zero] "r"((uint8_t)0), LSTM_MEMBER(weights),
          LSTM_MEMBER(values), LSTM_MEMBER(index)
        : "r0", "r26", "r27", "r30", "r31", "memory");
    // clang-format on
    return bias;
#else
    lstm_sum_t sums[GATES] = {0, 0, 0, 0};
    lstm_sum_t total = 0;
    for (uint8_t left = *part->index++; left > 0; left--) {
        const uint8_t *pair = part->values + 2 * *part->index++;
        lstm_add_column(sums, part->weights, pair[0]);
        lstm_add_column(sums, part->weights + GATES, pair[1]);
        total += pair[0] + pair[1];
        part->weights += 2 * GATES;
    }
    return lstm_end(gates, sums, bias, total << 7);
#endif
}
#endif

#if LSTM_HAS_SCATTERED
// The weights that are there, as they are: the carry of a product is its sign.
LSTM_ROW const FLASH_DATA uint8_t *
lstm_scattered_row(lstm_gate_t *gates, const FLASH_DATA uint8_t *bias, lstm_part_t *part) {
#if LSTM_ASSEMBLY
#define LSTM_ADD_PRESENT(bit, sum)                                                                 \
    "sbrs %[present], " bit "\n\t"                                                                 \
    "rjmp 2f\n\t"                                                                                  \
    "lpm %[weight], Z+\n\t"                                                                        \
    "mulsu %[weight], %[value]\n\t"                                                                \
    "sbc %C[" sum "], %[zero]\n\t"                                                                 \
    "add %A[" sum "], r0\n\t"                                                                      \
    "adc %B[" sum "], r1\n\t"                                                                      \
    "adc %C[" sum "], %[zero]\n\t"                                                                 \
    "2: "
    lstm_sum_t sum0, sum1, sum2, sum3;
    uint8_t turns, present;
    // The compiler does not find the two registers that mulsu can use.
    register uint8_t weight __asm__("r16");
    register uint8_t value __asm__("r17");
    // clang-format off
    __asm__ volatile(
        LSTM_BEGIN
        LSTM_BEGIN_INDEX
        "ldd %[turns], Z+%[turns_at]\n\t"
        LSTM_BEGIN_VALUES
        "1: " LSTM_FIND_INDEX
        "lpm %[present], Z+\n\t"
        LSTM_LEAVE_INDEX
        "movw r26, %[part]\n\t"
        "ld %[value], X+\n\t"
        LSTM_ADD_PRESENT("0", "sum0") LSTM_ADD_PRESENT("1", "sum1")
        LSTM_ADD_PRESENT("2", "sum2") LSTM_ADD_PRESENT("3", "sum3")
        "ld %[value], X+\n\t"
        LSTM_ADD_PRESENT("4", "sum0") LSTM_ADD_PRESENT("5", "sum1")
        LSTM_ADD_PRESENT("6", "sum2") LSTM_ADD_PRESENT("7", "sum3")
        "movw %[part], r26\n\t"
        "dec %[turns]\n\t"
        "breq 3f\n\t"
        "rjmp 1b\n\t"
        "3: " LSTM_END_VALUES
        LSTM_LEAVE_WEIGHTS
        LSTM_END_INDEX
        LSTM_END
        : [bias] "+r"(bias), [part] "+r"(part), [sum0] "=&r"(sum0), [sum1] "=&r"(sum1),
          [sum2] "=&r"(sum2), [sum3] "=&r"(sum3), [turns] "=&r"(turns), [value] "=&r"(value),
          [weight] "=&r"(weight), [present] "=&r"(present)
        : [gates] "r"(gates), [zero] "r"((uint8_t)0), LSTM_MEMBER(weights), LSTM_MEMBER(values),
          LSTM_MEMBER(index), LSTM_MEMBER(turns)
        : "r0", "r26", "r27", "r30", "r31", "memory");
    // clang-format on
    return bias;
#else
    lstm_sum_t sums[GATES] = {0, 0, 0, 0};
    for (uint16_t k = 0; k < part->columns; k += 2) {
        uint8_t present = *part->index++;
        for (int bit = 0; bit < 2 * GATES; bit++) {
            if ((present >> bit & 1) != 0) {
                sums[bit & 3] += (int8_t)*part->weights++ * part->values[k + (bit >> 2)];
            }
        }
    }
    return lstm_end(gates, sums, bias, 0);
#endif
}
#endif

LSTM_INLINE const FLASH_DATA uint8_t *lstm_row(lstm_gate_t *gates, const FLASH_DATA uint8_t *bias,
                                               lstm_part_t *part) {
#if LSTM_HAS_BLOCKS
    if (LSTM_IS(part, LSTM_BLOCKS)) {
        return lstm_blocks_row(gates, bias, part);
    }
#endif
#if LSTM_HAS_SCATTERED
    if (LSTM_IS(part, LSTM_SCATTERED)) {
        return lstm_scattered_row(gates, bias, part);
    }
#endif
    return lstm_dense_row(gates, bias, part);
}

// Gates.

// value * scale, rounded twice and saturated.
LSTM_CALLED int16_t lstm_scale(int32_t value, const FLASH_DATA lstm_plain_scale_t *scale) {
    return fixed_saturate16(fixed_multiply(value, &scale->scale));
}

#if FORECAST_PREFER_SIZE
// Turn all sums into values of gates.
LSTM_INLINE void lstm_rescale(lstm_gate_t *gates, const FLASH_DATA lstm_plain_scale_t *scales) {
    for (uint8_t left = PARTS * GATES; left > 0; left--) {
        gates->gate.value = lstm_scale(gates->sum, scales);
        gates++;
        scales++;
    }
}
#else
// Turn all sums into values of gates, rounded twice and saturated.
//
// The upper word of sum * multiplier is rounded half up; the rest of the shift, by n, rounds halves
// away from zero. As floors of floors are floors, that is the floor of
//
//     (sum * multiplier + 2^31 + 2^32 (2^(n - 1) - (1 where the sum is negative))) / 2^(32 + n)
//
// and without the second addition for n = 0.
//
// Of the product of 3 by 4 bytes, what lies below byte 2 adds less than 2 to byte 3, of which only
// the first bit counts: it is computed where that could change.
LSTM_INLINE void lstm_rescale(lstm_gate_t *gates, const FLASH_DATA lstm_scale_t *scales) {
#if LSTM_ASSEMBLY
// %[m3]:%[m2] = what lies below byte 2, from byte 1 on, and its carry.
#define LSTM_ADD_LOWEST                                                                            \
    "mul %[v0], %[m0]\n\t"                                                                         \
    "mov %[m2], r1\n\t"                                                                            \
    "clr %[m3]\n\t" LSTM_MULTIPLY("[v0]", "m1", "m2", "m3")                                        \
        LSTM_MULTIPLY("[v1]", "m0", "m2", "m3")
    uint8_t v0, v1, v2, m0, m1, m2, m3, b2, b3, b4, b5, b6, power, half;
    uint8_t left = PARTS * GATES;
    // clang-format off
    __asm__ volatile(
        "1: ld %[v0], X+\n\t"
        "ld %[v1], X+\n\t"
        "ld %[v2], X\n\t"
        "lpm %[m0], Z+\n\t"
        "lpm %[m1], Z+\n\t"
        "lpm %[m2], Z+\n\t"
        "lpm %[m3], Z+\n\t"
        "lpm %[power], Z+\n\t"
        "lpm %[half], Z+\n\t"
        // As if the sum had no sign. Where a carry is not passed on, there is none.
        "mul %[v0], %[m2]\n\t"
        "mov %[b2], r0\n\t"
        "mov %[b3], r1\n\t"
        "clr %[b4]\n\t"
        LSTM_MULTIPLY("[v1]", "m1", "b2", "b3") LSTM_CARRY("b4")
        LSTM_MULTIPLY("[v2]", "m0", "b2", "b3") LSTM_CARRY("b4")
        "clr %[b5]\n\t"
        LSTM_MULTIPLY("[v0]", "m3", "b3", "b4")
        LSTM_MULTIPLY("[v1]", "m2", "b3", "b4") LSTM_CARRY("b5")
        LSTM_MULTIPLY("[v2]", "m1", "b3", "b4") LSTM_CARRY("b5")
        "clr %[b6]\n\t"
        LSTM_MULTIPLY("[v1]", "m3", "b4", "b5") LSTM_CARRY("b6")
        LSTM_MULTIPLY("[v2]", "m2", "b4", "b5") LSTM_CARRY("b6")
        LSTM_MULTIPLY("[v2]", "m3", "b5", "b6")
        // A negative sum was taken for 2^24 more.
        "tst %[v2]\n\t"
        "brpl 2f\n\t"
        "sub %[b3], %[m0]\n\t"
        "sbc %[b4], %[m1]\n\t"
        "sbc %[b5], %[m2]\n\t"
        "sbc %[b6], %[m3]\n\t"
#if LSTM_FAR_SCALES
        "cpse %[power], %[zero]\n\t"
#endif
        "dec %[half]\n\t"
        "2: "
#if LSTM_FAR_SCALES
        "tst %[power]\n\t"
        "breq 7f\n\t"
#endif
        "subi %[b3], 0x7e\n\t"  // 0x7e and 0x7f become 0 and 1, what is rounded up 2 to 0x81
        "cpi %[b3], 2\n\t"
        "brlo 6f\n\t"
        "cpi %[b3], 0x82\n\t"
        "3: adc %[b4], %[half]\n\t"
        LSTM_CARRY("b5") LSTM_CARRY("b6")
        // Shifting right by n is multiplying by 2^(8 - n) and dropping a byte.
        "mul %[b4], %[power]\n\t"
        "mov %[b4], r1\n\t"
        "mul %[b5], %[power]\n\t"
        "or %[b4], r0\n\t"
        "mov %[b5], r1\n\t"
        "mulsu %[b6], %[power]\n\t"
        "or %[b5], r0\n\t"
        "mov %[b6], r1\n\t"
        // Saturated unless b6 is but the sign of b5.
        "4: mov r0, %[b5]\n\t"
        "lsl r0\n\t"
        "sbc r0, r0\n\t"
        "cp r0, %[b6]\n\t"
        "brne 9f\n\t"
        "5: st X, %[b5]\n\t"
        "st -X, %[b4]\n\t"
        "adiw r26, 2\n\t"
        "dec %[left]\n\t"
        "breq 8f\n\t"
        "rjmp 1b\n\t"
#if LSTM_FAR_SCALES
        "7: rjmp 7f\n\t"
#endif
        "8: rjmp 8f\n\t"
        // The exact product, where it counts.
        "6: " LSTM_ADD_LOWEST LSTM_CARRY("b3")
        "add %[b2], %[m3]\n\t"
        LSTM_CARRY("b3")
        "lsr %[b3]\n\t"
        "lsr %[b3]\n\t"  // it is rounded up from 2 on
        "rjmp 3b\n\t"
        "9: ldi %[b4], 0xff\n\t"
        "ldi %[b5], 0x7f\n\t"
        "sbrs %[v2], 7\n\t"
        "rjmp 5b\n\t"
        "com %[b4]\n\t"
        "com %[b5]\n\t"
        "rjmp 5b\n\t"
#if LSTM_FAR_SCALES
        // The less common shifts. None:
        "7: tst %[half]\n\t"
        "brne 7f\n\t"
        "cpi %[b3], 0x7e\n\t"
        "breq 1f\n\t"
        "cpi %[b3], 0x7f\n\t"
        "breq 1f\n\t"
        "lsl %[b3]\n\t"
        LSTM_CARRY("b4") LSTM_CARRY("b5") LSTM_CARRY("b6")
        "rjmp 4b\n\t"
        // The others, of the exact product.
        "7:\n\t"
        "1: " LSTM_ADD_LOWEST
        LSTM_CARRY("b3") LSTM_CARRY("b4") LSTM_CARRY("b5") LSTM_CARRY("b6")
        "add %[b2], %[m3]\n\t"
        LSTM_CARRY("b3") LSTM_CARRY("b4") LSTM_CARRY("b5") LSTM_CARRY("b6")
        "tst %[half]\n\t"
        "brmi 7f\n\t"
        "rjmp 2f\n\t"
        // To the left by half.
        "1: lsl %[b2]\n\t"
        "rol %[b3]\n\t"
        "rol %[b4]\n\t"
        "rol %[b5]\n\t"
        "rol %[b6]\n\t"
        "brvs 9b\n\t"
        "2: dec %[half]\n\t"
        "brpl 1b\n\t"
        "lsl %[b3]\n\t"
        LSTM_CARRY("b4") LSTM_CARRY("b5") LSTM_CARRY("b6")
        "rjmp 4b\n\t"
        // To the right by 8 and half.
        "7: lsl %[b3]\n\t"
        LSTM_CARRY("b4") LSTM_CARRY("b5") LSTM_CARRY("b6")
        "lsl %[v2]\n\t"  // halves of a negative number go down
        "sbc %[b4], %[zero]\n\t"
        "sbc %[b5], %[zero]\n\t"
        "sbc %[b6], %[zero]\n\t"
        "andi %[half], 0x7f\n\t"
        "1: asr %[b6]\n\t"
        "ror %[b5]\n\t"
        "dec %[half]\n\t"
        "brne 1b\n\t"
        LSTM_CARRY("b5") LSTM_CARRY("b6")
        "mov %[b4], %[b5]\n\t"
        "mov %[b5], %[b6]\n\t"
        "rjmp 5b\n\t"
#endif
        "8: clr __zero_reg__"
        : "+x"(gates), "+z"(scales), [left] "+r"(left), [v0] "=&r"(v0), [v1] "=&r"(v1),
          [v2] "=&r"(v2), [m0] "=&r"(m0), [m1] "=&r"(m1), [m2] "=&r"(m2), [m3] "=&r"(m3),
          [power] "=&a"(power), [half] "=&d"(half), [b2] "=&r"(b2), [b3] "=&d"(b3), [b4] "=&d"(b4),
          [b5] "=&d"(b5), [b6] "=&a"(b6)
        : [zero] "r"((uint8_t)0)
        : "r0", "memory");
    // clang-format on
#else
    for (int k = 0; k < PARTS * GATES; k++) {
        uint32_t multiplier = 0;
        for (int byte = 3; byte >= 0; byte--) {
            multiplier = multiplier << 8 | scales[k].multiplier[byte];
        }
        int left = 0;
        int right = 0;
        if (scales[k].power != 0) {
            for (right = 8; scales[k].power >> (8 - right) != 1; right--) {
            }
        } else if (scales[k].half < 128) {
            left = scales[k].half;
        } else {
            right = scales[k].half - 128 + 8;
        }
        int32_t bound = INT32_C(1) << 30;  // saturated either way
        int32_t sum = (int32_t)((uint32_t)gates[k].sum << left);
        if (gates[k].sum > bound >> left || gates[k].sum < -(bound >> left)) {
            sum = gates[k].sum < 0 ? -bound : bound;
        }
        int32_t upper = (int32_t)(((int64_t)sum * multiplier + (INT64_C(1) << 31)) >> 32);
        gates[k].gate.value = fixed_saturate16(fixed_rounding_divide(upper, right));
    }
#endif
}
#endif

// a + b, saturated.
LSTM_INLINE int16_t lstm_add(int16_t a, int16_t b) {
#if LSTM_ASSEMBLY
    // clang-format off
    __asm__(
        "add %A0, %A1\n\t"
        "adc %B0, %B1\n\t"
        "brvc 1f\n\t"
        "ldi %A0, 0xff\n\t"
        "ldi %B0, 0x7f\n\t"
        "brmi 1f\n\t"  // the sum of positive numbers became negative
        "com %A0\n\t"
        "com %B0\n\t"
        "1:"
        : "+d"(a)
        : "r"(b));
    // clang-format on
    return a;
#else
    return fixed_saturate16((int32_t)a + b);
#endif
}

// a * b for b >= 0.
LSTM_SHORT int32_t lstm_product(int16_t a, int16_t b) {
#if LSTM_ASSEMBLY
    int32_t product;
    // clang-format off
    __asm__(
        "mulsu %B1, %B2\n\t"
        "movw %C0, r0\n\t"
        "mul %A1, %A2\n\t"
        "movw %A0, r0\n\t"
        "mulsu %B1, %A2\n\t"
        "sbc %D0, %[zero]\n\t"  // the carry is the product's sign
        "add %B0, r0\n\t"
        "adc %C0, r1\n\t"
        "adc %D0, %[zero]\n\t"
        "mul %A1, %B2\n\t"
        "add %B0, r0\n\t"
        "adc %C0, r1\n\t"
        "adc %D0, %[zero]\n\t"
        "clr __zero_reg__"
        : "=&r"(product)
        : "a"(a), "a"(b), [zero] "r"((uint8_t)0)
        : "r0");
    // clang-format on
    return product;
#else
    return (int32_t)a * b;
#endif
}

// Activations, Q0.15: of an int16 of scale 2^(left - 12), tanh; of one of 2^-12, sigmoid.
//
// Both are odd but for a constant: computed for the magnitude, they take the sign. The table has 24
// knots per unit, and 3 times a value of 2^-12 is its place in the table in units of 2^-9 knots,
// which no value has too many of. As tanh(x) = 2 sigmoid(2 x) - 1, its knots are twice as far
// apart.
enum {
    LSTM_SIGMOID = INT8_MIN  // in the place of `left`
};

#if !LSTM_ASSEMBLY
// The table at place / 2^bits, with `bits` more bits of fraction.
static int32_t lstm_line(uint32_t place, int bits) {
    uint32_t low = activation_table[place >> bits];
    uint32_t high = activation_table[(place >> bits) + 1];
    return (int32_t)((low << bits) + (place & ((UINT32_C(1) << bits) - 1)) * (high - low));
}
#endif

LSTM_CALLED int16_t lstm_activate(int16_t value, int8_t left) {
#if LSTM_ASSEMBLY
    uint16_t line, rise, place;
    uint8_t sign, top;
    // clang-format off
    __asm__(
        "mov %[sign], %B[value]\n\t"
        "tst %[sign]\n\t"
        "brpl 1f\n\t"
        "com %B[value]\n\t"
        "neg %A[value]\n\t"
        "sbci %B[value], 0xff\n\t"
        // The place is a knot in byte 1 and 8 bits of fraction. For the sigmoid that is half of
        // what it should be, and lost is the lowest bit of value.
        "1: movw %[place], %[value]\n\t"
        "clr %[top]\n\t"
        "cpi %[left], %[sigmoid]\n\t"
        "brne 2f\n\t"
        "lsr %B[place]\n\t"
        "ror %A[place]\n\t"
        "add %A[place], %A[value]\n\t"
        "adc %B[place], %B[value]\n\t"
        "rjmp 6f\n\t"
        "2: lsl %A[place]\n\t"
        "rol %B[place]\n\t"
        "rol %[top]\n\t"
        "add %A[place], %A[value]\n\t"
        "adc %B[place], %B[value]\n\t"
        "adc %[top], __zero_reg__\n\t"
        "tst %[left]\n\t"
        "breq 5f\n\t"
        "brpl 4f\n\t"
        // To the right. The last bit shifted out rounds up, which is down for a negative value.
        "mov r0, %[sign]\n\t"
        "lsl r0\n\t"
        "sbc %A[place], __zero_reg__\n\t"
        "sbc %B[place], __zero_reg__\n\t"
        "sbc %[top], __zero_reg__\n\t"
        "3: lsr %[top]\n\t"
        "ror %B[place]\n\t"
        "ror %A[place]\n\t"
        "inc %[left]\n\t"
        "brne 3b\n\t"
        "adc %A[place], __zero_reg__\n\t"
        "adc %B[place], __zero_reg__\n\t"
        "adc %[top], __zero_reg__\n\t"
        "rjmp 5f\n\t"
        "4: lsl %A[place]\n\t"
        "rol %B[place]\n\t"
        "rol %[top]\n\t"
        "dec %[left]\n\t"
        "brne 4b\n\t"
        // From the last knot on the value is that of the table's end.
        "5: ldi %A[line], 0xff\n\t"
        "ldi %B[line], 0xff\n\t"
        "tst %[top]\n\t"
        "brne 8f\n\t"
        "cpi %B[place], 255\n\t"
        "breq 8f\n\t"
        // The line from this knot to the next: 8 bits of fraction in r0.
        "6: mov r30, %B[place]\n\t"
        "clr r31\n\t"
        "lsl r30\n\t"
        "rol r31\n\t"
        "subi r30, lo8(-(activation_table))\n\t"
        "sbci r31, hi8(-(activation_table))\n\t"
        "lpm %A[line], Z+\n\t"
        "lpm %B[line], Z+\n\t"
        "lpm %A[rise], Z+\n\t"
        "lpm %B[rise], Z\n\t"
        "sub %A[rise], %A[line]\n\t"
        "sbc %B[rise], %B[line]\n\t"
        "mul %A[place], %B[rise]\n\t"
        "add %A[line], r0\n\t"
        "adc %B[line], r1\n\t"
        "mul %A[place], %A[rise]\n\t"
        "add %A[line], r1\n\t"
        "clr __zero_reg__\n\t"
        "adc %B[line], __zero_reg__\n\t"
        "cpi %[left], %[sigmoid]\n\t"
        "brne 7f\n\t"
        "sbrs %A[value], 0\n\t"
        "rjmp 2f\n\t"
        "lsr %B[rise]\n\t"
        "ror %A[rise]\n\t"
        "add r0, %A[rise]\n\t"
        "adc %A[line], %B[rise]\n\t"
        "adc %B[line], __zero_reg__\n\t"
        "2: subi %A[line], 0xff\n\t"
        "sbci %B[line], 0xff\n\t"
        "lsr %B[line]\n\t"
        "ror %A[line]\n\t"
        "sbrs %[sign], 7\n\t"
        "rjmp 9f\n\t"
        "com %B[line]\n\t"  // 2^15 less the line
        "neg %A[line]\n\t"
        "sbci %B[line], 0x7f\n\t"
        "rjmp 9f\n\t"
        "7: lsl r0\n\t"
        "adc %A[line], __zero_reg__\n\t"
        "adc %B[line], __zero_reg__\n\t"
        "8: subi %B[line], 0x80\n\t"
        "sbrs %[sign], 7\n\t"
        "rjmp 9f\n\t"
        "com %B[line]\n\t"
        "neg %A[line]\n\t"
        "sbci %B[line], 0xff\n\t"
        "9:"
        : [value] "+d"(value), [left] "+d"(left), [line] "=&d"(line), [rise] "=&r"(rise),
          [place] "=&d"(place), [sign] "=&r"(sign), [top] "=&r"(top)
        : [sigmoid] "n"(LSTM_SIGMOID & 0xff)
        : "r0", "r30", "r31");
    // clang-format on
    return (int16_t)line;
#else
    int32_t magnitude = value < 0 ? -(int32_t)value : value;
    if (left == LSTM_SIGMOID) {
        int32_t above = (lstm_line(3 * (uint32_t)magnitude, 9) + (1 << 9)) >> 10;
        return (int16_t)(value < 0 ? (INT32_C(1) << 15) - above : above);
    }
    int32_t scaled = (int32_t)value * 3;
    if (left >= 0) {
        scaled *= INT32_C(1) << left;
    } else {
        scaled = (scaled + (INT32_C(1) << (-left - 1))) >> -left;
    }
    uint32_t place = (uint32_t)(scaled < 0 ? -scaled : scaled);
    int32_t line = place < UINT32_C(255) << 8 ? lstm_line(place, 8) : INT32_C(0xffff) << 8;
    int32_t above = (line - (INT32_C(1) << 23) + (1 << 7)) >> 8;
    return (int16_t)(scaled < 0 ? -above : above);
#endif
}

// Both parts of a gate together.
LSTM_CALLED int16_t lstm_gate(const lstm_gate_t *gates, int8_t left) {
    return lstm_activate(lstm_add(gates[0].gate.value, gates[GATES].gate.value), left);
}

// A unit.

#if !FORECAST_PREFER_SIZE
// product / 2^(16 + right), its half added already, saturated.
LSTM_INLINE int16_t lstm_upper(int32_t product, int8_t right) {
    if (right < 0) {
        product = (int32_t)((uint32_t)product << 1);  // gates and cells have 15 bits and a sign
        for (right++; right < 0; right++) {
            if (product >= INT32_C(1) << 30 || product < -(INT32_C(1) << 30)) {
                return product < 0 ? INT16_MIN : INT16_MAX;
            }
            product = (int32_t)((uint32_t)product << 1);
        }
    }
    return (int16_t)((int16_t)(product >> 16) >> right);
}
#endif

// The new cell, of gates and the one before.
LSTM_INLINE int16_t lstm_remember(const lstm_gate_t *gates, int16_t cell,
                                  const FLASH_DATA lstm_constants_t *constants) {
    int32_t kept = lstm_product(cell, lstm_gate(&gates[GATE_FORGET], LSTM_SIGMOID));
    int16_t change = lstm_gate(&gates[GATE_CELL], 0);
    int32_t added = lstm_product(change, lstm_gate(&gates[GATE_INPUT], LSTM_SIGMOID));
#if FORECAST_PREFER_SIZE
    cell = lstm_add(lstm_scale(kept, &constants->forget_scale),
                    lstm_scale(added, &constants->update_scale));
#else
    (void)constants;  // all that is needed may be part of the code
    // Scales that are powers of two have a multiplier of 2^30: only the shift is left of
    // fixed_multiply. Gates are positive, so that the other factor has the product's sign.
    kept += cell < 0 ? 0x3fff : 0x4001;
    added += LSTM_CELL(constants)->half - (change < 0 ? 2 : 0);
    cell = lstm_add(lstm_upper(kept, -1), lstm_upper(added, LSTM_CELL(constants)->right));
#endif
    int16_t low = LSTM_CELL(constants)->low;
    int16_t high = LSTM_CELL(constants)->high;
    return cell < low ? low : cell > high ? high : cell;
}

// The new hidden value, of tanh(cell) * output gate.
LSTM_INLINE int8_t lstm_show(int32_t shown, int8_t zero_point,
                             const FLASH_DATA lstm_constants_t *constants) {
    int16_t value;
#if LSTM_ASSEMBLY && !FORECAST_PREFER_SIZE
    // It has but 8 bits: the upper 3 bytes times the upper 2 of the multiplier nearly always tell
    // it. Where hidden_scale is multiplier / 2^(32 + n), their product is right to less than
    // 2^22 + 2^17 either way in units of 2^24, halves and all. With that much added, it is right
    // unless what is left of the division, b2 and below, is less than twice as much.
    const FLASH_DATA uint8_t *bytes = constants->hidden_multiplier;
    uint8_t m0, m1, power, half, b1, b2, b3, b4, rest;
    // clang-format off
    __asm__(
        "lpm %[m0], Z+\n\t"
        "lpm %[m1], Z+\n\t"
        "lpm %[power], Z+\n\t"
        "lpm %[half], Z\n\t"
        "mul %B[shown], %[m0]\n\t"
        "mov %[b1], r1\n\t"
        "clr %[b2]\n\t"
        LSTM_MULTIPLY("B[shown]", "m1", "b1", "b2")
        "clr %[b3]\n\t"
        LSTM_MULTIPLY("C[shown]", "m0", "b1", "b2") LSTM_CARRY("b3")
        "clr %[b4]\n\t"
        LSTM_MULTIPLY("C[shown]", "m1", "b2", "b3") LSTM_CARRY("b4")
        LSTM_MULTIPLY("D[shown]", "m0", "b2", "b3") LSTM_CARRY("b4")
        LSTM_MULTIPLY("D[shown]", "m1", "b3", "b4")
        "tst %D[shown]\n\t"
        "brpl 1f\n\t"
        "sub %[b3], %[m0]\n\t"
        "sbc %[b4], %[m1]\n\t"
        "1: ldi %[b1], 0x42\n\t"
        "add %[b2], %[b1]\n\t"
        "adc %[b3], %[half]\n\t"
        LSTM_CARRY("b4")
        "mul %[b3], %[power]\n\t"
        "mov %[b1], r1\n\t"
        "mov %[rest], r0\n\t"
        "mulsu %[b4], %[power]\n\t"
        "or r0, %[b1]\n\t"
        "movw %[value], r0\n\t"
        "clr __zero_reg__"
        : "+z"(bytes), [m0] "=&r"(m0), [m1] "=&r"(m1), [power] "=&a"(power), [half] "=&r"(half),
          [b1] "=&d"(b1), [b2] "=&r"(b2), [b3] "=&r"(b3), [b4] "=&a"(b4), [rest] "=&r"(rest),
          [value] "=&r"(value)
        : [shown] "r"(shown), [zero] "r"((uint8_t)0)
        : "r0");
    // clang-format on
    if (power == 0 || (rest == 0 && b2 < 0x84))
#endif
    {
        value = lstm_scale(shown, &constants->hidden_scale);
    }
    value = lstm_add(value, zero_point);
    return (int8_t)(value < INT8_MIN ? INT8_MIN : value > INT8_MAX ? INT8_MAX : value);
}

// Copy a part's values, plus 128, as they are before the step. Returns the place after them.
LSTM_CALLED uint8_t *lstm_prepare(const int8_t *values, uint8_t *copy, lstm_part_t *part,
                                  uint16_t columns, const FLASH_DATA lstm_matrix_t *matrix) {
    // Member by member: avr-gcc 5.4 copies structures in flash from RAM.
    part->weights = (const FLASH_DATA uint8_t *)matrix->weights;
    part->values = copy;
    part->turns = (uint8_t)(FORECAST_PREFER_SIZE ? columns : (columns + 3) / 4);
    part->rest = (uint8_t)columns & 3;
#if LSTM_HAS_BLOCKS || LSTM_HAS_SCATTERED
    part->index = matrix->index;
    part->format = matrix->format;
    if (LSTM_IS(part, LSTM_SCATTERED)) {
        part->turns = (uint8_t)((columns + 1) / 2);
    }
#endif
#if !LSTM_ASSEMBLY
    part->columns = columns;
#endif
    uint16_t total = 0;  // 256 of 255 fit
    do {
        uint8_t value = (uint8_t)*values++ ^ 0x80;
        total = (uint16_t)(total + value);
        *copy++ = value;
    } while (--columns > 0);
    part->added = (lstm_sum_t)total << 7;
    return copy;
}

void lstm_step(const int8_t *input, const FLASH_DATA lstm_layer_t *layer, int8_t *hidden,
               int16_t *cells, void *scratch) {
    const FLASH_DATA lstm_constants_t *constants =
        (const FLASH_DATA lstm_constants_t *)layer->constants;
    const FLASH_DATA uint8_t *bias = (const FLASH_DATA uint8_t *)layer->bias;
    lstm_part_t parts[PARTS];
    uint8_t *copy = (uint8_t *)scratch;
    copy = lstm_prepare(input, copy, &parts[PART_INPUT], layer->input_size, &layer->input);
    lstm_prepare(hidden, copy, &parts[PART_RECURRENT], layer->hidden_size, &layer->recurrent);
    int8_t zero_point = layer->hidden_zero_point;
    uint8_t left = (uint8_t)layer->hidden_size;
    do {
        lstm_gate_t gates[PARTS * GATES];
        lstm_gate_t *row = gates;
        lstm_part_t *part = parts;
        do {
            bias = lstm_row(row, bias, part);
            row += GATES;
            part++;
        } while (part != parts + PARTS);
        lstm_rescale(gates, constants->scales);
        int16_t cell = lstm_remember(gates, *cells, constants);
        *cells++ = cell;
        cell = lstm_activate(cell, LSTM_CELL(constants)->left);
        int16_t out = lstm_gate(&gates[GATE_OUTPUT], LSTM_SIGMOID);
        *hidden++ = lstm_show(lstm_product(cell, out), zero_point, constants);
        LSTM_KEEP(constants);
    } while (--left > 0);
}
