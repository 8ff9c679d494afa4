// The kernel for cores with the DSP instructions of Armv7E-M and Armv8-M: Cortex-M4, M7, M33.
//
// Two weights share a lane of 16 bits, 256 * one + other, so that SMLAD multiplies four weights
// with two hidden values; another one, of the single weights that SXTB16 takes out, tells the two
// sums apart. That is three instructions for four products.
//
// What follows per unit is as many instructions as the products of 32 columns. It is assembly, with
// constants loaded several at a time, and rounds by multiplying: see LSTM_HIGH and LSTM_DIVIDE_0.
//
// What holds for all layers of the model is decided by macros of config.h, which
// toolchain/firmware/kernels/dsp.py describes together with the bytes.

#include <arm_acle.h>
#include <stdbool.h>
#include <string.h>

#include "activation.h"
#include "config.h"
#include "lstm.h"

#if !defined(__ARM_FEATURE_DSP) || !defined(__thumb2__)
#error "lstm_dsp.c needs a core with the DSP instructions, in Thumb state"
#endif

// Order of the gates in every array here.
enum {
    GATE_INPUT,
    GATE_FORGET,
    GATE_CELL,
    GATE_OUTPUT,
    GATES
};

typedef struct {
    int32_t gate[GATES];
} lstm_sums_t;

// Columns that the code of a dense row multiplies at a time.
#define LSTM_GROUP_COLUMNS 8

// Formats of the matrices that rows are read from, and whether rows begin at more than one place of
// the code for them: one for each format, and for dense rows one for each number of groups that the
// first turn of the loop has.
#if LSTM_FEW_INPUTS
#define LSTM_ROW_FORMATS LSTM_RECURRENT_FORMATS
#define LSTM_HAS_ONE_LENGTH (LSTM_HIDDEN_SIZE > 0)
#else
#define LSTM_ROW_FORMATS (LSTM_RECURRENT_FORMATS | LSTM_INPUT_FORMATS)
#define LSTM_HAS_ONE_LENGTH                                                                        \
    (LSTM_HIDDEN_SIZE > 0 &&                                                                       \
     LSTM_INPUT_SIZE / LSTM_GROUP_COLUMNS == LSTM_HIDDEN_SIZE / LSTM_GROUP_COLUMNS)
#endif
#define LSTM_HAS_DENSE_ROWS (LSTM_ROW_FORMATS & 1)
#define LSTM_HAS_BLOCK_ROWS (LSTM_ROW_FORMATS & 2)
#define LSTM_HAS_SCATTERED_ROWS (LSTM_ROW_FORMATS & 4)
#define LSTM_HAS_SPARSE_ROWS (LSTM_ROW_FORMATS != 1)
#if LSTM_ROW_FORMATS == 2 || LSTM_ROW_FORMATS == 4 || (LSTM_ROW_FORMATS == 1 && LSTM_HAS_ONE_LENGTH)
#define LSTM_ENTRIES 0
#else
#define LSTM_ENTRIES 1
#endif

// What layer->constants holds, in the order in which the assembly below reads it.
typedef struct {
    int32_t recurrent_multiplier[GATES];  // sums -> Q3.12, in two roundings
    int32_t recurrent_divisor[GATES];
    int32_t input_multiplier[GATES];
    int32_t input_divisor[GATES];
    int32_t slope;  // both of LSTM_LINE
    int32_t start;
    int32_t sigmoid_half;  // what rounds a sigmoid
    int32_t scales;        // 3 * 64, and 3 * 128 in the upper half
    int32_t tanh_half;     // what rounds a tanh
    int32_t one;
    int32_t kept_factor;   // forget gate * cell -> cell, as a factor of SMMULR
    int32_t added_factor;  // input gate * cell gate -> cell, likewise
    int32_t minus_one;
    int32_t cell_scale;  // cell -> argument of tanh
    int32_t cell_half;
    int32_t hidden_multiplier;  // tanh(cell) * output gate -> hidden, in two roundings
    int32_t hidden_divisor;
    int32_t hidden_zero_point;
    int32_t cell_clip;              // 32,768 where there is none
    uint8_t recurrent_left[GATES];  // left shifts of the sums, before anything else
    uint8_t input_left[GATES];
} lstm_constants_t;

// What a matrix is multiplied with. In scratch.
typedef struct {
    int32_t start[2];  // of the sums of two weights in a lane, and of single weights
    int16_t values[];  // less their zero point
} lstm_values_t;

// A matrix on its way through the units.
typedef struct {
    struct {
        const int8_t *weights;  // of the next unit
        const lstm_values_t *values;
    } from;
#if LSTM_ENTRIES
    uintptr_t entry;  // into the code of lstm_row
#endif
#if LSTM_HAS_SPARSE_ROWS
    const uint8_t *index;
#endif
#if LSTM_ROW_FORMATS != 2
    const int16_t *groups_end;  // of the values that are multiplied eight at a time; or of all
#endif
#if LSTM_HAS_DENSE_ROWS && LSTM_UNEVEN_GROUPS
    const int16_t *pairs_end;  // two at a time
#endif
#if LSTM_SINGLE_COLUMNS
    const int16_t *singles;  // the rest
    uint32_t single_count;
#endif
} lstm_route_t;

// The input matrix of a few dense columns, on its way likewise.
typedef struct {
    struct {
        const int8_t *weights;
        const int32_t *bias;
    } from;
#if LSTM_ONE_INPUT
    int32_t value;
#else
    struct {
        const int8_t *first;
        const int8_t *end;
    } values;
#endif
} lstm_inputs_t;

// The units.
typedef struct {
    const lstm_constants_t *constants;
    struct {
        int16_t *cell;
        int8_t *hidden;
        int8_t *hidden_end;
    } at;
} lstm_units_t;

// Add the products of a column's four weights, a byte each, with its value.
static inline void lstm_add_column(lstm_sums_t *sums, const int8_t *weights, int32_t value) {
    uint32_t word;
    memcpy(&word, weights, sizeof(word));
    int32_t even = __sxtb16((int32_t)word);
    int32_t odd = __sxtb16((int32_t)(word >> 8 | word << 24));
    sums->gate[0] = __smlabb(even, value, sums->gate[0]);
    sums->gate[1] = __smlabb(odd, value, sums->gate[1]);
    sums->gate[2] = __smlatb(even, value, sums->gate[2]);
    sums->gate[3] = __smlatb(odd, value, sums->gate[3]);
}

// clang-format off

// The products of a dense row's column pair with its values. w0 holds the weights of input and
// forget gate for both columns, w1 those of cell and output gate; a lane is the bytes other + 128,
// one, so that the upper byte is the one weight as it is. r2 and r4 add up 256 * one + other; they
// begin with -128 * the sum of the values. r3 and r5 add up one.
#define LSTM_DENSE_PAIR(w0, w1, values)                                                            \
    "smlad r2, " #w0 ", " #values ", r2\n"                                                         \
    "smlad r4, " #w1 ", " #values ", r4\n"                                                         \
    "sxtb16 " #w0 ", " #w0 ", ror #8\n"                                                            \
    "sxtb16 " #w1 ", " #w1 ", ror #8\n"                                                            \
    "smlad r3, " #w0 ", " #values ", r3\n"                                                         \
    "smlad r5, " #w1 ", " #values ", r5\n"

// Eight columns.
#define LSTM_DENSE_GROUP                                                                           \
    "ldmia.w r1!, {r10, r11, r12, lr}\n"                                                           \
    "ldmia.w r0!, {r6, r7, r8, r9}\n"                                                              \
    LSTM_DENSE_PAIR(r6, r7, r10)                                                                   \
    LSTM_DENSE_PAIR(r8, r9, r11)                                                                   \
    "ldmia.w r0!, {r6, r7, r8, r9}\n"                                                              \
    LSTM_DENSE_PAIR(r6, r7, r12)                                                                   \
    LSTM_DENSE_PAIR(r8, r9, lr)
#define LSTM_GROUP_BYTES 108

// The same for a block. Which values it has differs from unit to unit, and so would their sum: a
// lane is 256 * one + other as a number, and SXTB16 takes out the other.
#define LSTM_BLOCK                                                                                 \
    "ldrb.w r8, [r6], #1\n"                                                                        \
    "ldrd r9, r10, [r0], #8\n"                                                                     \
    "ldr.w r8, [r1, r8, lsl #2]\n"                                                                 \
    "smlad r3, r9, r8, r3\n"                                                                       \
    "smlad r5, r10, r8, r5\n"                                                                      \
    "sxtb16 r9, r9\n"                                                                              \
    "sxtb16 r10, r10\n"                                                                            \
    "smlad r2, r9, r8, r2\n"                                                                       \
    "smlad r4, r10, r8, r4\n"

#if FORECAST_PREFER_SIZE
#define LSTM_UNROLLED 1
#define LSTM_DENSE_GROUPS LSTM_DENSE_GROUP
#define LSTM_BLOCKS_LOOP                                                                           \
    "b 6f\n"                                                                                       \
    "5:\n"                                                                                         \
    LSTM_BLOCK                                                                                     \
    "6:\n"                                                                                         \
    "subs r7, r7, #1\n"                                                                            \
    "bpl 5b\n"
#else
#define LSTM_UNROLLED 4
#define LSTM_DENSE_GROUPS LSTM_DENSE_GROUP LSTM_DENSE_GROUP LSTM_DENSE_GROUP LSTM_DENSE_GROUP
// First those that do not fill four, so that the loop ends with its last.
#define LSTM_BLOCKS_LOOP                                                                           \
    "and r8, r7, #3\n"                                                                             \
    "tbb [pc, r8]\n"                                                                               \
    "4: .byte (9f - 4b) / 2, (8f - 4b) / 2, (7f - 4b) / 2, (6f - 4b) / 2\n"                        \
    "5:\n" LSTM_BLOCK                                                                              \
    "6:\n" LSTM_BLOCK                                                                              \
    "7:\n" LSTM_BLOCK                                                                              \
    "8:\n" LSTM_BLOCK                                                                              \
    "9:\n"                                                                                         \
    "subs r7, r7, #4\n"                                                                            \
    "bpl 5b\n"
#endif

// Weights that are not zero: r7 says which of a pair's eight there are, the first in its upper bit.
#define LSTM_SCATTERED_WEIGHT(sum, multiply, bit)                                                  \
    "ldrsb r10, [r0], #1\n"                                                                        \
    multiply #sum ", r10, r8, " #sum "\n"                                                          \
    "bics r7, r7, #" #bit "\n"                                                                     \
    "bne 6b\n"                                                                                     \
    "b 4b\n"
#define LSTM_SCATTERED_LOOP                                                                        \
    "b 5f\n"                                                                                       \
    "4:\n"                                                                                         \
    "cmp r1, lr\n"                                                                                 \
    "beq 9f\n"                                                                                     \
    "5:\n"                                                                                         \
    "ldrb r7, [r6], #1\n"                                                                          \
    "ldr r8, [r1], #4\n"                                                                           \
    "rbit r7, r7\n"                                                                                \
    "cmp r7, #0\n"                                                                                 \
    "beq 4b\n"                                                                                     \
    "6:\n"                                                                                         \
    "clz r9, r7\n"                                                                                 \
    "tbb [pc, r9]\n"                                                                               \
    "7: .byte (1f - 7b) / 2, (1f - 7b) / 2 + 8, (1f - 7b) / 2 + 16, (1f - 7b) / 2 + 24\n"          \
    ".byte (1f - 7b) / 2 + 32, (1f - 7b) / 2 + 40, (1f - 7b) / 2 + 48, (1f - 7b) / 2 + 56\n"       \
    "1:\n" /* 16 bytes each */                                                                     \
    LSTM_SCATTERED_WEIGHT(r3, "smlabb ", 0x80000000)                                               \
    LSTM_SCATTERED_WEIGHT(r2, "smlabb ", 0x40000000)                                               \
    LSTM_SCATTERED_WEIGHT(r5, "smlabb ", 0x20000000)                                               \
    LSTM_SCATTERED_WEIGHT(r4, "smlabb ", 0x10000000)                                               \
    LSTM_SCATTERED_WEIGHT(r3, "smlabt ", 0x08000000)                                               \
    LSTM_SCATTERED_WEIGHT(r2, "smlabt ", 0x04000000)                                               \
    LSTM_SCATTERED_WEIGHT(r5, "smlabt ", 0x02000000)                                               \
    LSTM_SCATTERED_WEIGHT(r4, "smlabt ", 0x01000000)                                               \
    "9:\n"

// clang-format on

// How many groups the first turn of a dense row's loop has: all others are full.
#define LSTM_FIRST_GROUPS(groups) ((groups) > 0 ? ((groups)-1) % LSTM_UNROLLED + 1 : 0)
#define LSTM_GROUPS (LSTM_HIDDEN_SIZE / LSTM_GROUP_COLUMNS)
#define LSTM_SKIPS_GROUPS (!LSTM_ENTRIES && LSTM_FIRST_GROUPS(LSTM_GROUPS) < LSTM_UNROLLED)

// Labels in lstm_row, where a route enters it. Should a compiler want two copies of the assembly,
// the assembler will refuse them.
#if LSTM_ENTRIES
extern const uint8_t lstm_dense_end[];
extern const uint8_t lstm_blocks[];
extern const uint8_t lstm_scattered[];
#endif

// The products of a unit's weights with their values. Moves on to the next unit.
static void lstm_row(lstm_sums_t *sums, lstm_route_t *moving) {
#if !LSTM_FEW_INPUTS
    // The assembly below takes every register but sp: what it reads has to lie on the stack.
    lstm_route_t copy = *moving;
    lstm_route_t *route = &copy;
#else
    lstm_route_t *route = moving;
#endif
    register int32_t forget __asm__("r2");
    register int32_t input __asm__("r3");
    register int32_t output __asm__("r4");
    register int32_t cell __asm__("r5");
    // clang-format off
    __asm__ volatile(
        "ldrd r0, r1, %[from]\n"
        "ldrd r2, r3, [r1]\n"
        "ldrd r4, r5, [r1], #8\n"
#if LSTM_ENTRIES
        "ldr.w pc, %[entry]\n"
#endif
#if LSTM_HAS_BLOCK_ROWS
        "lstm_blocks:\n"
        "ldr r6, %[index]\n"
        "ldrb r7, [r6], #1\n"  // how many
        LSTM_BLOCKS_LOOP
        "str r6, %[index]\n"
        "sub r3, r3, r2\n"
        "sub r5, r5, r4\n"
        "asr r3, r3, #8\n"
        "asr r5, r5, #8\n"
#if LSTM_ENTRIES
        "b 3f\n"
#endif
#endif
#if LSTM_HAS_SCATTERED_ROWS
        "lstm_scattered:\n"
        "ldr r6, %[index]\n"
        "ldr lr, %[groups_end]\n"
        LSTM_SCATTERED_LOOP
        "str r6, %[index]\n"
#if LSTM_ENTRIES
        "b 3f\n"
#endif
#endif
#if LSTM_HAS_DENSE_ROWS
#if LSTM_SKIPS_GROUPS
        "b lstm_dense_end - %c[first]\n"
#endif
        "1:\n"
        LSTM_DENSE_GROUPS
        "lstm_dense_end:\n"
        "ldr r6, %[groups_end]\n"
        "cmp r1, r6\n"
        "bne 1b\n"
#if LSTM_UNEVEN_GROUPS
        "ldr r8, %[pairs_end]\n"
        "b 2f\n"
        "1:\n"
        "ldr r10, [r1], #4\n"
        "ldrd r6, r7, [r0], #8\n"
        LSTM_DENSE_PAIR(r6, r7, r10)
        "2:\n"
        "cmp r1, r8\n"
        "bne 1b\n"
#endif
        "sub r2, r2, r3, lsl #8\n"
        "sub r4, r4, r5, lsl #8\n"
#endif
        "3:\n"
        "str r0, %[from]\n"
        : "=r"(forget), "=r"(input), "=r"(output), "=r"(cell),
#if LSTM_HAS_SPARSE_ROWS
          [index] "+m"(route->index),
#endif
          [from] "+m"(route->from)
        :
#if LSTM_ENTRIES
          [entry] "m"(route->entry),
#endif
#if LSTM_HAS_DENSE_ROWS && LSTM_UNEVEN_GROUPS
          [pairs_end] "m"(route->pairs_end),
#endif
#if LSTM_ROW_FORMATS != 2
          [groups_end] "m"(route->groups_end),
#endif
          [first] "i"(LSTM_GROUP_BYTES * LSTM_FIRST_GROUPS(LSTM_GROUPS))
        : "r0", "r1", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
    // clang-format on
    *sums = (lstm_sums_t){{input, forget, cell, output}};
#if LSTM_SINGLE_COLUMNS
    for (uint32_t k = 0; k < route->single_count; k++) {
        lstm_add_column(sums, route->from.weights, route->singles[k]);
        route->from.weights += GATES;
    }
#endif
#if !LSTM_FEW_INPUTS
    moving->from.weights = copy.from.weights;
#if LSTM_HAS_SPARSE_ROWS
    moving->index = copy.index;
#endif
#endif
}

// Bring int8 values into scratch, less their zero point.
static void lstm_widen(lstm_values_t *widened, const int8_t *from, uint32_t count,
                       int32_t zero_point) {
    const int8_t *end = from + count;
    int16_t *to = widened->values;
    int32_t sum = 0;
#if !FORECAST_PREFER_SIZE
    uint32_t offset = (uint32_t)-zero_point & 0xFFFF;
    int32_t offsets = (int32_t)(offset | offset << 16);
    while (end - from >= 4) {
        // Even and odd values apart, then two by two again.
        int32_t low;
        int32_t even;
        int32_t odd;
        __asm__ volatile("ldr %[low], [%[from]], #4\n"
                         "sxtab16 %[odd], %[offsets], %[low], ror #8\n"
                         "sxtab16 %[even], %[offsets], %[low]\n"
                         "smlad %[sum], %[even], %[ones], %[sum]\n"
                         "smlad %[sum], %[odd], %[ones], %[sum]\n"
                         "pkhbt %[low], %[even], %[odd], lsl #16\n"
                         "pkhtb %[odd], %[odd], %[even], asr #16\n"
                         "strd %[low], %[odd], [%[to]], #8\n"
                         : [low] "=&r"(low), [even] "=&r"(even), [odd] "=&r"(odd),
                           [from] "+r"(from), [to] "+r"(to), [sum] "+r"(sum)
                         : [offsets] "r"(offsets), [ones] "r"(0x10001)
                         : "memory");
    }
#endif
    while (from != end) {
        int32_t value = *from++ - zero_point;
        *to++ = (int16_t)value;
#if LSTM_SINGLE_COLUMNS
        if (from == end && count % 2 != 0) {
            break;  // an odd one has no pair
        }
#endif
        sum += value;
    }
    // What a dense row has to begin with; see LSTM_DENSE_PAIR.
    widened->start[0] = -128 * sum;
    widened->start[1] = 0;
}

// The way through a matrix, which has no pairs when its columns are few.
static void lstm_plan(lstm_route_t *route, lstm_values_t *widened, const lstm_matrix_t *matrix,
                      uint32_t columns, bool few) {
#if LSTM_SINGLE_COLUMNS
    uint32_t paired = few ? 0 : columns & ~1u;
    if (few) {
        widened->start[0] = 0;
    }
#else
    (void)few;
    uint32_t paired = columns;
#endif
    route->from.weights = matrix->weights;
    route->from.values = widened;
#if LSTM_ROW_FORMATS == 2
    (void)paired;
#else
    uint32_t groups = paired / LSTM_GROUP_COLUMNS;
    route->groups_end = widened->values + groups * LSTM_GROUP_COLUMNS;
#if LSTM_ENTRIES && LSTM_HAS_DENSE_ROWS
    uint32_t skipped = LSTM_FIRST_GROUPS(groups) * LSTM_GROUP_BYTES;
    route->entry = (uintptr_t)lstm_dense_end - skipped + 1;  // 1: Thumb
#endif
#endif
#if LSTM_HAS_DENSE_ROWS && LSTM_UNEVEN_GROUPS
    route->pairs_end = widened->values + paired;
#endif
#if LSTM_SINGLE_COLUMNS
    route->singles = widened->values + paired;
    route->single_count = columns - paired;
#endif
#if LSTM_HAS_SPARSE_ROWS
    route->index = matrix->index;
    if (matrix->format != LSTM_DENSE) {
        widened->start[0] = 0;
#if LSTM_SINGLE_COLUMNS
        route->single_count = 0;
#endif
    }
#endif
#if LSTM_HAS_SCATTERED_ROWS
    if (matrix->format == LSTM_SCATTERED) {
        route->groups_end = widened->values + (columns + 1) / 2 * 2;
#if LSTM_ENTRIES
        route->entry = (uintptr_t)lstm_scattered + 1;
#endif
    }
#endif
#if LSTM_ENTRIES && LSTM_HAS_BLOCK_ROWS
    if (matrix->format == LSTM_BLOCKS) {
        route->entry = (uintptr_t)lstm_blocks + 1;
    }
#endif
}

// clang-format off

// A sum to Q3.12. First its product with a multiplier m, rounded: (v m + 2^30) >> 31. With
// 2m - 2^32 in the register that is what SMMLAR does: v + ((v (2m - 2^32) + 2^31) >> 32).
#define LSTM_HIGH(sum, multiplier) "smmlar " #sum ", " #sum ", " #multiplier ", " #sum "\n"
// Then a division by 2^n, halves away from zero. n > 1: a product with 2^(32-n) + 1, where the 1
// takes a little from negative numbers. n = 1: the same, without what does not fit 32 bits; n = 0:
// nothing to add. Where shifts go left there is only the shift, before all; and in a model with
// several layers there may be any of these.
#define LSTM_SHIFT_0(sum, left)
#define LSTM_DIVIDE_0(sum, divisor) "smmulr " #sum ", " #sum ", " #divisor "\n"
#define LSTM_SHIFT_1(sum, left)
#define LSTM_DIVIDE_1(sum, divisor) "smmlar " #sum ", " #sum ", " #divisor ", " #sum "\n"
#define LSTM_SHIFT_2(sum, left)                                                                    \
    "ldrb lr, [r9, #" #left "]\n"                                                                  \
    "lsl " #sum ", " #sum ", lr\n"
#define LSTM_DIVIDE_2(sum, divisor)
#define LSTM_SHIFT_3(sum, left) LSTM_SHIFT_2(sum, left)
#define LSTM_DIVIDE_3(sum, divisor)                                                                \
    "cmp " #divisor ", #0\n"                                                                       \
    "ite gt\n"                                                                                     \
    "movgt lr, #0\n"                                                                               \
    "movle lr, " #sum "\n"                                                                         \
    "smmlar " #sum ", " #sum ", " #divisor ", lr\n"
#define LSTM_JOIN(a, b) a##b
#define LSTM_SHIFT(kind, sum, left) LSTM_JOIN(LSTM_SHIFT_, kind)(sum, left)
#define LSTM_DIVIDE(kind, sum, divisor) LSTM_JOIN(LSTM_DIVIDE_, kind)(sum, divisor)

#define LSTM_SATURATE(value) "ssat " #value ", #16, " #value "\n"
#if LSTM_RECURRENT_SATURATES
#define LSTM_SATURATE_RECURRENT(value) LSTM_SATURATE(value)
#else
#define LSTM_SATURATE_RECURRENT(value)
#endif
#if LSTM_INPUT_SATURATES
#define LSTM_SATURATE_INPUT(value) LSTM_SATURATE(value)
#else
#define LSTM_SATURATE_INPUT(value)
#endif

// The table's line between two knots at a number with 15 bits of fraction: knot 1 * fraction + knot
// 0 * (2^15 - fraction). The shares are negated, since 2^15 does not fit 16 bits and -2^15 does:
// -fraction and fraction - 2^15, which one multiplication makes. r1, r2, r3 are table, slope, start.
#if !FORECAST_PREFER_SIZE

// The table is negated too, and has all knots. To the line comes what rounds the result, one less
// for a negative number.
#define LSTM_LINE(result, number, knots, shares, half)                                             \
    "ldr.w " #knots ", [r1, " #knots ", lsl #1]\n"                                                 \
    "mla " #shares ", " #shares ", r2, r3\n"                                                       \
    "add " #number ", " #half ", " #number ", asr #31\n"                                           \
    "smlad " #result ", " #knots ", " #shares ", " #number "\n"

// Q3.12 in the lower half -> Q0.15 in the upper half.
#define LSTM_SIGMOID(gate)                                                                         \
    "smulbb r6, " #gate ", r5\n"                                                                   \
    "asr r7, r6, #15\n"                                                                            \
    "ubfx r8, r6, #0, #15\n"                                                                       \
    LSTM_LINE(gate, r6, r7, r8, r4)
#define LSTM_SMUL_GATE "smultb "
#define LSTM_SMLA_GATE "smlatb "

// Scaled -> Q0.15. The bits below 2^7 are what rounding a cell left.
#define LSTM_TANH(scaled, knots, shares)                                                           \
    "asr " #knots ", " #scaled ", #15\n"                                                           \
    "and " #shares ", " #scaled ", #0x7F80\n"                                                      \
    LSTM_LINE(scaled, scaled, knots, shares, lr)                                                   \
    "asr " #scaled ", " #scaled ", #15\n"

// The table ends.
#define LSTM_SATURATE_SCALED(scaled) "ssat " #scaled ", #24, " #scaled "\n"
#define LSTM_KNOT_0 " + 512"
#define LSTM_SUBROUTINES

#else

// The table has the knots from 0 up, less one half: the line is that of the magnitude, and the
// result gets the sign. From r6 to r6.
#define LSTM_CURVE(limit, half, shift)                                                             \
    "eor r7, r6, r6, asr #31\n"                                                                    \
    "sub r7, r7, r6, asr #31\n"                                                                    \
    limit                                                                                          \
    "ubfx r4, r7, #0, #15\n"                                                                       \
    "asr r7, r7, #15\n"                                                                            \
    "ldr.w r7, [r1, r7, lsl #1]\n"                                                                 \
    "mla r4, r4, r2, r3\n"                                                                         \
    "smuad r7, r7, r4\n"                                                                           \
    "rsb r7, r7, #" #half "\n"                                                                     \
    "asr r7, r7, #" #shift "\n"                                                                    \
    "eor r7, r7, r6, asr #31\n"                                                                    \
    "sub r6, r7, r6, asr #31\n"

// 7: Q3.12 in the lower half -> Q0.15. 8: scaled -> Q0.15, without the bits below 2^7, which are
// what rounding a cell left; the table ends at 255 knots.
#define LSTM_SUBROUTINES                                                                           \
    "b 9f\n"                                                                                       \
    "7:\n"                                                                                         \
    "smulbb r6, r6, r5\n"                                                                          \
    LSTM_CURVE("", 0x8000, 16)                                                                     \
    "add r6, r6, #0x4000\n"                                                                        \
    "bx lr\n"                                                                                      \
    "8:\n"                                                                                         \
    "bic r6, r6, #0x7F\n"                                                                          \
    LSTM_CURVE("cmp r7, #0x7F8000\n"                                                               \
               "it hi\n"                                                                           \
               "movhi r7, #0x7F8000\n", 0x4000, 15)                                                \
    "bx lr\n"                                                                                      \
    "9:\n"

#define LSTM_SIGMOID(gate)                                                                         \
    "mov r6, " #gate "\n"                                                                          \
    "bl 7b\n"                                                                                      \
    "mov " #gate ", r6\n"
#define LSTM_SMUL_GATE "smulbb "
#define LSTM_SMLA_GATE "smlabb "
#define LSTM_TANH(scaled, knots, shares)                                                           \
    "mov r6, " #scaled "\n"                                                                        \
    "bl 8b\n"                                                                                      \
    "mov " #scaled ", r6\n"
#define LSTM_SATURATE_SCALED(scaled)
#define LSTM_KNOT_0

#endif

// +1 or -1, as the number is: added before SMMULR rounds halves up, it makes them go away from zero
// and does what the first of the two roundings would do to a power of two.
#define LSTM_SIGN(result, number) "orr " #result ", r4, " #number ", asr #31\n"

// clang-format on

void lstm_step(const int8_t *input, const lstm_layer_t *layer, int8_t *hidden, int16_t *cells,
               void *scratch) {
    lstm_values_t *recalled_values = (lstm_values_t *)scratch;
    lstm_units_t units = {
        .constants = (const lstm_constants_t *)layer->constants,
        .at = {cells, hidden, hidden + layer->hidden_size},
    };
#if LSTM_FEW_INPUTS
    lstm_inputs_t inputs = {
        .from = {layer->input.weights, layer->bias},
#if LSTM_ONE_INPUT
        .value = *input,
#else
        .values = {input, input + layer->input_size},
#endif
    };
#else
    const int32_t *bias = layer->bias;
    lstm_route_t input_route;
    // Scratch has no room for few.
    struct {
        int32_t start[2];
        int16_t values[LSTM_FEW_COLUMNS];
    } few;
    void *given_values = recalled_values->values + (layer->hidden_size + 1) / 2 * 2;
    bool is_few = layer->input_size <= LSTM_FEW_COLUMNS && layer->input_size < layer->hidden_size;
    if (is_few) {
        given_values = &few;
    }
    lstm_widen(given_values, input, layer->input_size, 0);
    lstm_plan(&input_route, given_values, &layer->input, layer->input_size, is_few);
#endif
    lstm_route_t route;
    lstm_widen(recalled_values, hidden, layer->hidden_size, layer->hidden_zero_point);
    lstm_plan(&route, recalled_values, &layer->recurrent, layer->hidden_size, false);
    bool more;
    do {
        // In all of the assembly a number has its register.
        register int32_t input_given __asm__("r0");
        register int32_t forget_given __asm__("r10");
        register int32_t cell_given __asm__("r11");
        register int32_t output_given __asm__("r12");
        register int32_t input_recalled __asm__("r3");
        register int32_t forget_recalled __asm__("r2");
        register int32_t cell_recalled __asm__("r5");
        register int32_t output_recalled __asm__("r4");
        register const void *constants __asm__("r9");
#if !LSTM_FEW_INPUTS
        lstm_sums_t given;
        lstm_row(&given, &input_route);
#endif
        lstm_sums_t recalled;
        lstm_row(&recalled, &route);
        input_recalled = recalled.gate[GATE_INPUT];
        forget_recalled = recalled.gate[GATE_FORGET];
        cell_recalled = recalled.gate[GATE_CELL];
        output_recalled = recalled.gate[GATE_OUTPUT];

        // clang-format off

        // The recurrent part, to Q3.12.
        __asm__ volatile("ldr r9, %[constants]\n"
                         "ldmia.w r9!, {r0, r1, r6, r7, r8, r10, r11, r12}\n"
                         LSTM_SHIFT(LSTM_RECURRENT_ROUNDING_0, r3, 92)
                         LSTM_SHIFT(LSTM_RECURRENT_ROUNDING_1, r2, 93)
                         LSTM_SHIFT(LSTM_RECURRENT_ROUNDING_2, r5, 94)
                         LSTM_SHIFT(LSTM_RECURRENT_ROUNDING_3, r4, 95)
                         LSTM_HIGH(r3, r0)
                         LSTM_HIGH(r2, r1)
                         LSTM_HIGH(r5, r6)
                         LSTM_HIGH(r4, r7)
                         LSTM_DIVIDE(LSTM_RECURRENT_ROUNDING_0, r3, r8)
                         LSTM_DIVIDE(LSTM_RECURRENT_ROUNDING_1, r2, r10)
                         LSTM_DIVIDE(LSTM_RECURRENT_ROUNDING_2, r5, r11)
                         LSTM_DIVIDE(LSTM_RECURRENT_ROUNDING_3, r4, r12)
                         LSTM_SATURATE_RECURRENT(r3)
                         LSTM_SATURATE_RECURRENT(r2)
                         LSTM_SATURATE_RECURRENT(r5)
                         LSTM_SATURATE_RECURRENT(r4)
                         : "+r"(input_recalled), "+r"(forget_recalled), "+r"(cell_recalled),
                           "+r"(output_recalled), "=r"(constants)
                         : [constants] "m"(units.constants)
                         : "r0", "r1", "r6", "r7", "r8", "r10", "r11", "r12", "lr", "cc");

        // The sums of the input part.
#if LSTM_ONE_INPUT
        __asm__ volatile("ldrd r6, r7, %[from]\n"
                         "ldr r8, %[value]\n"
                         "ldmia.w r7!, {r0, r10, r11, r12}\n"
                         "ldr r1, [r6], #4\n"
                         "strd r6, r7, %[from]\n"
                         "sxtb16 r6, r1\n"
                         "sxtb16 r7, r1, ror #8\n"
                         "smlabb r0, r6, r8, r0\n"
                         "smlabb r10, r7, r8, r10\n"
                         "smlatb r11, r6, r8, r11\n"
                         "smlatb r12, r7, r8, r12\n"
                         : "=r"(input_given), "=r"(forget_given), "=r"(cell_given),
                           "=r"(output_given), [from] "+m"(inputs.from)
                         : [value] "m"(inputs.value)
                         : "r1", "r6", "r7", "r8", "memory");
#elif LSTM_FEW_INPUTS
        __asm__ volatile("ldrd r6, r7, %[from]\n"
                         "ldmia.w r7!, {r0, r10, r11, r12}\n"
                         "str r7, %[bias]\n"
                         "ldrd r8, r9, %[values]\n"
                         "1:\n"
                         "ldr r1, [r6], #4\n"
                         "ldrsb r7, [r8], #1\n"
                         "sxtb16 lr, r1, ror #8\n"
                         "sxtb16 r1, r1\n"
                         "smlabb r0, r1, r7, r0\n"
                         "smlabb r10, lr, r7, r10\n"
                         "smlatb r11, r1, r7, r11\n"
                         "smlatb r12, lr, r7, r12\n"
                         "cmp r8, r9\n"
                         "bne 1b\n"
                         "str r6, %[weights]\n"
                         "ldr r9, %[constants]\n"
                         "add r9, r9, #32\n"
                         : "=r"(input_given), "=r"(forget_given), "=r"(cell_given),
                           "=r"(output_given), "+r"(constants), [from] "+m"(inputs.from),
                           [weights] "+m"(inputs.from.weights), [bias] "+m"(inputs.from.bias)
                         : [values] "m"(inputs.values), [constants] "m"(units.constants)
                         : "r1", "r6", "r7", "r8", "lr", "cc", "memory");
#else
        input_given = given.gate[GATE_INPUT] + bias[GATE_INPUT];
        forget_given = given.gate[GATE_FORGET] + bias[GATE_FORGET];
        cell_given = given.gate[GATE_CELL] + bias[GATE_CELL];
        output_given = given.gate[GATE_OUTPUT] + bias[GATE_OUTPUT];
        bias += GATES;
#endif

        __asm__ volatile(
            // The input part, to Q3.12, and both together.
            "ldmia.w r9!, {r1, r6, r7, r8}\n"
            LSTM_SHIFT(LSTM_INPUT_ROUNDING_0, r0, 80)
            LSTM_SHIFT(LSTM_INPUT_ROUNDING_1, r10, 81)
            LSTM_SHIFT(LSTM_INPUT_ROUNDING_2, r11, 82)
            LSTM_SHIFT(LSTM_INPUT_ROUNDING_3, r12, 83)
            LSTM_HIGH(r0, r1)
            LSTM_HIGH(r10, r6)
            LSTM_HIGH(r11, r7)
            LSTM_HIGH(r12, r8)
            "ldmia.w r9!, {r1, r6, r7, r8}\n"
            LSTM_DIVIDE(LSTM_INPUT_ROUNDING_0, r0, r1)
            LSTM_DIVIDE(LSTM_INPUT_ROUNDING_1, r10, r6)
            LSTM_DIVIDE(LSTM_INPUT_ROUNDING_2, r11, r7)
            LSTM_DIVIDE(LSTM_INPUT_ROUNDING_3, r12, r8)
            LSTM_SATURATE_INPUT(r0)
            LSTM_SATURATE_INPUT(r10)
            LSTM_SATURATE_INPUT(r11)
            LSTM_SATURATE_INPUT(r12)
            "qadd16 r0, r0, r3\n"
            "qadd16 r10, r10, r2\n"
            "qadd16 r11, r11, r5\n"
            "qadd16 r12, r12, r4\n"

            // The gates.
            LSTM_SUBROUTINES
            "ldr r1, =activation_table" LSTM_KNOT_0 "\n"
            "ldmia.w r9!, {r2, r3, r4, r5, lr}\n"
            LSTM_SIGMOID(r0)
            LSTM_SIGMOID(r10)
            LSTM_SIGMOID(r12)
            "smulbt r11, r11, r5\n"
            LSTM_SATURATE_SCALED(r11)
            LSTM_TANH(r11, r7, r8)

            // The cell: what is added, what is kept, and both together.
            "ldmia.w r9!, {r4, r5, r6, r7}\n"
            LSTM_SIGN(r8, r11)
            LSTM_SMLA_GATE "r0, r0, r11, r8\n"
            "smmulr r0, r0, r6\n"
#if LSTM_UPDATE_SATURATES
            LSTM_SATURATE(r0)
#endif
            "ldr r8, %[cell]\n"
            "ldrsh r11, [r8]\n"
            LSTM_SIGN(r6, r11)
            LSTM_SMLA_GATE "r11, r10, r11, r6\n"
#if LSTM_CLIP == 1
            // -32,768 becomes -32,767: one less, saturated, and one more.
            "smmlar r11, r11, r5, r7\n"
            "qadd16 r0, r0, r11\n"
            "qadd16 r0, r0, r4\n"
#else
            "smmulr r11, r11, r5\n"
            "qadd16 r0, r0, r11\n"
#endif
#if LSTM_CLIP == 2
            "ldr r4, [r9, #20]\n"
            "sxth r0, r0\n"
            "cmp r0, r4\n"
            "it gt\n"
            "movgt r0, r4\n"
            "rsb r4, r4, #0\n"
            "cmp r0, r4\n"
            "it lt\n"
            "movlt r0, r4\n"
#endif
            "strh r0, [r8], #2\n"

            // The hidden value. What rounds it is one less for a negative number.
            "ldmia.w r9, {r4, r5, r9, r10, r11}\n"
            "smlabb r0, r0, r4, r5\n"
#if LSTM_CELL_BEYOND_TABLE
            LSTM_SATURATE_SCALED(r0)
#endif
            LSTM_TANH(r0, r4, r5)
            LSTM_SMUL_GATE "r0, r12, r0\n"
            LSTM_HIGH(r0, r9)
            "add r0, r0, r0, asr #31\n"
            "smmlar r0, r0, r10, r11\n"
            "ssat r0, #8, r0\n"
            "ldrd r9, r4, %[hidden]\n"
            "strb r0, [r9], #1\n"
            "strd r8, r9, %[at]\n"
            "cmp r9, r4\n"
            : "=@ccne"(more), [at] "+m"(units.at), "+r"(input_given), "+r"(forget_given),
              "+r"(cell_given), "+r"(output_given), "+r"(input_recalled), "+r"(forget_recalled),
              "+r"(cell_recalled), "+r"(output_recalled), "+r"(constants)
            : [cell] "m"(units.at.cell), [hidden] "m"(units.at.hidden)
            : "r1", "r6", "r7", "r8", "lr", "memory");
        // clang-format on
    } while (more);
}
