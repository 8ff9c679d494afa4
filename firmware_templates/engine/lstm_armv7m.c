// The kernel for Armv7-M without DSP: Cortex-M3.
//
// A column's four weights are one word and take three multiplications (see lstm_packed_t): with
// what prepares them, 8 cycles a column beside its loads. One by one they take 12; in the 64 bits
// of SMLAL, two at a time, 10 to 16, though one instruction less. (MLA takes 2 cycles, SMLAL 4 to
// 7, the first of several loads 2 and the others 1: Cortex-M3 Technical Reference Manual, DDI
// 0337I, 3.3.)
//
// For speed, everything becomes one function, and facts that hold for all layers become part of it.
// For size, what is done twice is a function, and weights are added a column at a time.
//
// toolchain/firmware/kernels/armv7m.py lays out what is read here.

#include <stdbool.h>
#include <string.h>

#include "activation.h"
#include "config.h"
#include "lstm.h"

// The assembly takes nearly all registers: without optimization there are not enough.
#if !defined(__OPTIMIZE__)
#pragma GCC optimize("O2")
#endif

#define LSTM_INLINE static inline __attribute__((always_inline))

// What is done twice.
#if FORECAST_PREFER_SIZE
#define LSTM_TWICE static __attribute__((noinline))
#else
#define LSTM_TWICE LSTM_INLINE
#endif

// Keep gcc from knowing how a value came about: it would choose slower instructions.
#define LSTM_KEEP(value) __asm__("" : "+r"(value))

// The same, and have it do so here for each unit: done before, it would be kept on the stack.
#define LSTM_KEEP_HERE(value) __asm__ volatile("" : "+r"(value))

// What __ssat of arm_acle.h is, whose macro has a conversion that we warn of. With the shift of a
// value that is shifted, it is one instruction.
#define LSTM_SATURATE(value, bits) ((int32_t)__builtin_arm_ssat(value, bits))

// Whether a part of the model is of one kind. Known when compiled where all parts are.
#define LSTM_IS(one, now, kinds)                                                                   \
    (((kinds) >> (one)&1) != 0 && ((kinds) == 1 << (one) || (now) == (one)))

#define LSTM_SPARSE (LSTM_HAS_BLOCKS || LSTM_HAS_SCATTERED)

// Order of the gates in every array here.
enum {
    GATE_INPUT,
    GATE_FORGET,
    GATE_CELL,
    GATE_OUTPUT,
    GATES
};

// What a unit's gates are the sum of.
enum {
    PARTS_INPUT = 0,          // one per gate
    PARTS_RECURRENT = GATES,  // one per gate
    PARTS = 2 * GATES
};

// Dense matrices of few columns are stored plainly: taking sums apart is not worth it.
enum {
    LSTM_NARROW_COLUMNS = FORECAST_PREFER_SIZE ? 0 : 5
};
enum lstm_width {
    LSTM_NARROW,  // up to LSTM_NARROW_COLUMNS: a column's weights are int8
    LSTM_WIDE,    // a column's weights are a word to be taken apart; all blocks are wide
};

LSTM_INLINE enum lstm_width lstm_width(uint32_t columns) {
    return columns > LSTM_NARROW_COLUMNS ? LSTM_WIDE : LSTM_NARROW;
}

// Bits after the point of the sums that are scaled: where they are taken apart they come with so
// many, and the upper word of a product then has some to be rounded.
#define LSTM_FINE 8

// The scales of a layer beside their multipliers. A shift to the left is a negative one to the
// right.
typedef struct {
    int8_t right[PARTS];      // -6..23
    int8_t update_right;      // 11..20
    int8_t hidden_right;      // 1..23
    int8_t cell_scale_power;  // the cell's scale is 2^this, -18..-9
    int8_t unused;
    int32_t cell_clip;  // the cell stays in [-cell_clip, cell_clip]; 0: no clip
} lstm_shifts_t;

// What layer->constants holds.
typedef struct {
    int32_t multiplier[PARTS];
    int32_t hidden_multiplier;
    int32_t hidden_rounding;  // the zero point and a half, with hidden_right bits after the point
    lstm_shifts_t shifts;
} lstm_constants_t;

// What all layers agree on is known when this is compiled.
enum {
    LSTM_VARIES = -128,  // where they do not
};
static const lstm_shifts_t lstm_agreed = {
    .right = {LSTM_INPUT_RIGHT_0, LSTM_INPUT_RIGHT_1, LSTM_INPUT_RIGHT_2, LSTM_INPUT_RIGHT_3,
              LSTM_RECURRENT_RIGHT_0, LSTM_RECURRENT_RIGHT_1, LSTM_RECURRENT_RIGHT_2,
              LSTM_RECURRENT_RIGHT_3},
    .update_right = LSTM_UPDATE_RIGHT,
    .hidden_right = LSTM_HIDDEN_RIGHT,
    .cell_scale_power = LSTM_CELL_SCALE_POWER,
    .cell_clip = LSTM_CELL_CLIP,
};
#define LSTM_OF(shifts, name) (lstm_agreed.name == LSTM_VARIES ? (shifts)->name : lstm_agreed.name)

// One of the two matrix products of a step.
typedef struct {
    const int8_t *weights;  // from the next unit on
#if LSTM_SPARSE
    const uint8_t *index;  // likewise
    uint8_t format;
#endif
    const int16_t *values;
    const int16_t *end;  // past the last column
#if LSTM_COLUMNS_AT_ONCE > 1
    const int16_t *most;  // past the last LSTM_COLUMNS_AT_ONCE columns
#endif
    uint32_t start_half;  // what the sums of a unit start from
} lstm_part_t;

// What a part's sums start from, so that the 128 added to each weight comes off: the weights of
// `total`, the sum of all values, as bytes of half a word and of a word.
#define LSTM_START_HALF(total) ((total) * -UINT32_C(0x8080))
#define LSTM_START_WORD(start_half) ((start_half) + ((start_half) << 16))

// Widen a part's values, less their zero point and shifted to the left, for as long as the step
// takes. An odd number is followed by a zero, as the other of the last pair of columns.
LSTM_TWICE lstm_part_t lstm_part(const int8_t *bytes, const lstm_matrix_t *matrix, int16_t *values,
                                 uint32_t columns, int32_t zero_point, int left) {
    lstm_part_t part = {
        .weights = matrix->weights,
#if LSTM_SPARSE
        .index = matrix->index,
        .format = matrix->format,
#endif
        .values = values,
        .end = values + columns,
#if LSTM_COLUMNS_AT_ONCE > 1
        .most = values + columns / LSTM_COLUMNS_AT_ONCE * LSTM_COLUMNS_AT_ONCE,
#endif
    };
    uint32_t total = 0;
    do {
        int32_t value = (*bytes++ - zero_point) * (1 << left);
        *values++ = (int16_t)value;
        total += (uint32_t)value;
    } while (values != part.end);
#if LSTM_HAS_BLOCKS
    if (columns % 2 != 0) {
        *values = 0;
    }
#endif
    part.start_half = LSTM_START_HALF(total);
    return part;
}

// Three multiplications for the four weights of a column.
//
// The bytes of a column's word are its weights, each plus 128: a + 2^8 b + 2^16 c + 2^24 d. With
// the values v of a row's columns, three sums are kept modulo 2^32,
//
//     word  = sum of v (a + 2^8 b + 2^16 c + 2^24 d)
//     lower = sum of v (b + 2^8 c)
//     upper = sum of v (c + 2^8 d)
//
// which have 96 bits: all there is of A, the sum of v a, and of B, C, D, for each fits 24. With 256
// columns, no product sum is past 256 * 255 * 128 < 2^23.
typedef struct {
    uint32_t word;
    uint32_t lower;
    uint32_t upper;
} lstm_packed_t;

// Add a row's sums, with LSTM_FINE bits after the point.
LSTM_INLINE void lstm_unpack(int32_t *sums, lstm_packed_t packed) {
    int32_t a = (int32_t)((packed.word - (packed.lower << 8)) << 8);
    int32_t b = (int32_t)(packed.word - (packed.upper << 16) - (uint32_t)(a >> 8));
    int32_t c = (int32_t)(packed.lower - (uint32_t)(b >> 8));
    int32_t d = (int32_t)(packed.upper - (uint32_t)(c >> 8));
    sums[0] += a;
    sums[1] += b;
    sums[2] += c;
    sums[3] += d;
}

// In assembly: gcc would keep a part of this on the stack, and load where it then has to wait.

// sums += word (spoilt) * value.
#define ADD_COLUMN(word, value)                                                                    \
    "mla     %[word], " word ", " value ", %[word]\n"                                              \
    "ubfx    %[half], " word ", #8, #16\n"                                                         \
    "mla     %[lower], %[half], " value ", %[lower]\n"                                             \
    "lsrs    " word ", " word ", #16\n"                                                            \
    "mla     %[upper], " word ", " value ", %[upper]\n"

// The second of two loads takes one cycle.
#define ADD_TWO_COLUMNS(word0, word1)                                                              \
    "ldrsh   %[value1], [%[values], #2]\n"                                                         \
    "ldrsh   %[value0], [%[values]], #4\n" ADD_COLUMN(word0, "%[value0]")                          \
        ADD_COLUMN(word1, "%[value1]")

#define ADD_FOUR_COLUMNS                                                                           \
    "ldmia   %[weights]!, {r4, r5, r6, r7}\n" ADD_TWO_COLUMNS("r4", "r5")                          \
        ADD_TWO_COLUMNS("r6", "r7")

#define ADD_ONE_COLUMN                                                                             \
    "ldr     %[value1], [%[weights]], #4\n"                                                        \
    "ldrsh   %[value0], [%[values]], #2\n" ADD_COLUMN("%[value1]", "%[value0]")

LSTM_INLINE lstm_packed_t lstm_add_wide(lstm_part_t *part) {
    uint32_t start_half = part->start_half;
    LSTM_KEEP_HERE(start_half);
    lstm_packed_t sums = {LSTM_START_WORD(start_half), start_half, start_half};
    const int16_t *values = part->values;
    uint32_t half, value0, value1;
#if LSTM_COLUMNS_AT_ONCE > 1
    __asm__ volatile("1:\n" ADD_FOUR_COLUMNS
#if LSTM_COLUMNS_AT_ONCE == 8
                         ADD_FOUR_COLUMNS
#endif
                     "cmp     %[values], %[most]\n"
                     "bne     1b"
                     : [word] "+r"(sums.word), [lower] "+r"(sums.lower), [upper] "+r"(sums.upper),
                       [weights] "+r"(part->weights), [values] "+r"(values), [half] "=&r"(half),
                       [value0] "=&r"(value0), [value1] "=&r"(value1)
                     : [most] "r"(part->most)
                     : "r4", "r5", "r6", "r7", "cc", "memory");
#endif
#if LSTM_COLUMNS_LEFT
    __asm__ volatile("b       2f\n"
                     "1:\n" ADD_ONE_COLUMN "2:\n"
                     "cmp     %[values], %[end]\n"
                     "bne     1b"
                     : [word] "+r"(sums.word), [lower] "+r"(sums.lower), [upper] "+r"(sums.upper),
                       [weights] "+r"(part->weights), [values] "+r"(values), [half] "=&r"(half),
                       [value0] "=&r"(value0), [value1] "=&r"(value1)
                     : [end] "r"(part->end)
                     : "cc", "memory");
#endif
    return sums;
}

#if LSTM_HAS_BLOCKS

// A block at `weights`, its column pair named at `index`.
#define ADD_BLOCK                                                                                  \
    "ldrb    %[value1], [%[index]], #1\n"                                                          \
    "ldrsh   %[value0], [%[values], %[value1], lsl #2]\n"                                          \
    "ldrsh   %[value1], [%[seconds], %[value1], lsl #2]\n"                                         \
    "ldmia   %[weights]!, {r4, r5}\n"                                                              \
    "add     %[total], %[total], %[value0]\n"                                                      \
    "add     %[total], %[total], %[value1]\n" ADD_COLUMN("r4", "%[value0]")                        \
        ADD_COLUMN("r5", "%[value1]")

LSTM_INLINE lstm_packed_t lstm_add_blocks(lstm_part_t *part) {
    lstm_packed_t sums = {0, 0, 0};
    uint32_t total = 0;  // of the values met
    uint32_t left = *part->index++;
    uint32_t half, value0, value1;
#if FORECAST_PREFER_SIZE
    __asm__ volatile(
        "1:\n"
        "subs    %[left], %[left], #1\n"
        "bmi     2f\n" ADD_BLOCK "b       1b\n"
        "2:"
#else
    // Two at once. Of an odd number, the first one alone.
    __asm__ volatile(
        "lsrs    %[left], %[left], #1\n"
        "bcs     2f\n"
        "subs    %[left], %[left], #1\n"
        "bmi     3f\n"
        "1:\n" ADD_BLOCK "2:\n" ADD_BLOCK "subs    %[left], %[left], #1\n"
        "bpl     1b\n"
        "3:"
#endif
        : [word] "+r"(sums.word), [lower] "+r"(sums.lower), [upper] "+r"(sums.upper),
          [weights] "+r"(part->weights), [index] "+r"(part->index), [left] "+r"(left),
          [total] "+r"(total), [half] "=&r"(half), [value0] "=&r"(value0), [value1] "=&r"(value1)
        : [values] "r"(part->values), [seconds] "r"(part->values + 1)
        : "r4", "r5", "cc", "memory");
    uint32_t start_half = LSTM_START_HALF(total);
    sums.word += LSTM_START_WORD(start_half);
    sums.lower += start_half;
    sums.upper += start_half;
    return sums;
}

#endif

LSTM_INLINE void lstm_add_narrow(int32_t *sums, lstm_part_t *part, int left, bool once) {
    if (once) {
#pragma GCC unroll 4
        for (int gate = 0; gate < GATES; gate++) {
            sums[gate] += *part->weights++ * part->values[0];
        }
        return;
    }
    const int16_t *values = part->values;
    do {
        int32_t value = *values++ * (1 << left);
#pragma GCC unroll 4
        for (int gate = 0; gate < GATES; gate++) {
            sums[gate] += *part->weights++ * value;
        }
    } while (values != part->end);
}

#if LSTM_HAS_SCATTERED

LSTM_INLINE void lstm_add_scattered(int32_t *sums, lstm_part_t *part) {
    const int16_t *values = part->values;
    do {
        uint32_t present = *part->index++;
        for (int column = 0; column < 2; column++) {
            int32_t value = *values++ * (1 << LSTM_FINE);
#pragma GCC unroll 4
            for (int gate = 0; gate < GATES; gate++) {
                if ((present >> gate & 1) != 0) {
                    sums[gate] += *part->weights++ * value;
                }
            }
            present >>= GATES;
        }
    } while (values < part->end);
}

#endif

// Add a part's product for the next unit, with LSTM_FINE bits after the point. Plain values are to
// be shifted by `left`.
LSTM_INLINE void lstm_add_product(int32_t *sums, lstm_part_t *part, int left, unsigned formats,
                                  unsigned widths, bool once) {
#if LSTM_HAS_BLOCKS
    if (LSTM_IS(LSTM_BLOCKS, part->format, formats)) {
        lstm_unpack(sums, lstm_add_blocks(part));
        return;
    }
#endif
#if LSTM_HAS_SCATTERED
    if (LSTM_IS(LSTM_SCATTERED, part->format, formats)) {
        lstm_add_scattered(sums, part);
        return;
    }
#endif
    (void)formats;
    enum lstm_width width = lstm_width((uint32_t)(part->end - part->values));
    if (LSTM_IS(LSTM_NARROW, width, widths)) {
        lstm_add_narrow(sums, part, left, once);
    } else {
        lstm_unpack(sums, lstm_add_wide(part));
    }
}

// A sum times a scale, rounded twice as TFLite Micro does: the upper word of the doubled product,
// halves up, then the rest of the shift, halves away from zero. For negative sums the second takes
// 1 off its half. Both halves are added at once.
LSTM_INLINE int32_t lstm_scale(int32_t fine, int32_t multiplier, int right) {
    enum {
        BITS = LSTM_FINE - 1,  // after the point, in the upper word of a product not doubled
    };
    int32_t high = (int32_t)(((int64_t)fine * multiplier) >> 32);
    high += INT32_C(1) << (BITS - 1 + right);
    if (right > 0) {
        high += (1 << (BITS - 1)) - (int32_t)((uint32_t)fine >> 31 << BITS);
    }
    return LSTM_SATURATE(high >> (BITS + right), 16);
}

#if FORECAST_PREFER_SIZE

#if !ACTIVATION_TABLE_POSITIVE
#error "the kernel reads the table of positive knots"
#endif

#define LSTM_TABLE activation_table

// The table at scaled / 2^9, divided by 2^(right - 9), halves away from zero: odd, as sigmoid and
// tanh are but for a constant.
static __attribute__((noinline)) int32_t lstm_curve(int32_t scaled, int right,
                                                    const int16_t *table) {
    int32_t magnitude = scaled < 0 ? -scaled : scaled;
    if (magnitude >= 255 << 9) {
        magnitude = (255 << 9) - 1;
    }
    const int16_t *knot = &table[magnitude >> 9];
    int32_t line = knot[0] * (1 << 9) + (knot[1] - knot[0]) * (magnitude & ((1 << 9) - 1));
    int32_t result = (line + (1 << (right - 1))) >> right;
    return scaled < 0 ? -result : result;
}

// Q3.12 -> Q0.15.
LSTM_INLINE int32_t lstm_sigmoid(int32_t value, const int16_t *table) {
    // The table has 24 knots per unit and the value 4096 steps: 3/512 knots per step.
    return lstm_curve(3 * value, 10, table) + (1 << 14);
}

// Of an argument with 8 bits after the knot.
LSTM_INLINE int32_t lstm_tanh(int32_t scaled, const int16_t *table) {
    return lstm_curve(2 * scaled, 9, table);
}

#else

#if !ACTIVATION_TABLE_SIGNED
#error "the kernel reads the table of signed knots"
#endif

#define LSTM_TABLE (activation_table + 256)  // knot 0

// (value + 2^(bits - 1)) / 2^bits + plus, by the carry that a shift leaves.
#define LSTM_ROUND(value, bits, plus)                                                              \
    __asm__("asrs    %0, %0, %1\n"                                                                 \
            "adc     %0, %0, %2"                                                                   \
            : "+r"(value)                                                                          \
            : "I"(bits), "I"(plus)                                                                 \
            : "cc")

// The table at scaled / 2^bits, with `bits` more bits of fraction.
LSTM_INLINE int32_t lstm_line(int32_t scaled, unsigned bits, const int16_t *table) {
    int32_t knots;  // this one and the next
    memcpy(&knots, table + (scaled >> bits), sizeof(knots));
    int32_t low = (int16_t)knots;
    int32_t rest = ((knots >> 16) - low) * (scaled & ((1 << bits) - 1));
    LSTM_KEEP(rest);  // a shift and MLA, it would become
    return rest + low * (1 << bits);
}

// Q3.12 -> Q0.15.
LSTM_INLINE int32_t lstm_sigmoid(int32_t value, const int16_t *table) {
    // The table has 24 knots per unit and the value 4096 steps: 3/512 knots per step.
    int32_t line = lstm_line(3 * value, 9, table) + (value >> 31);
    LSTM_ROUND(line, 10, 1 << 14);
    return line;
}

// Of an argument with 8 bits after the knot.
LSTM_INLINE int32_t lstm_tanh(int32_t scaled, const int16_t *table) {
    int32_t line = lstm_line(LSTM_SATURATE(scaled, 17), 8, table) + (scaled >> 31);
    LSTM_ROUND(line, 8, 0);
    return line;
}

#endif

#if FORECAST_PREFER_SIZE

LSTM_TWICE void lstm_add(int32_t *sums, lstm_part_t *part) {
    lstm_add_product(sums, part, 0, LSTM_INPUT_FORMATS | LSTM_RECURRENT_FORMATS, 1 << LSTM_WIDE,
                     false);
}

// The parts of a unit's gates, Q3.12.
LSTM_INLINE void lstm_parts(int32_t *parts, const int32_t *bias, lstm_part_t *given,
                            lstm_part_t *recalled, const lstm_constants_t *constants) {
    for (int gate = 0; gate < GATES; gate++) {
        parts[PARTS_INPUT + gate] = bias[gate];
        parts[PARTS_RECURRENT + gate] = 0;
    }
    lstm_add(parts + PARTS_INPUT, given);
    lstm_add(parts + PARTS_RECURRENT, recalled);
    for (int k = 0; k < PARTS; k++) {
        parts[k] = lstm_scale(parts[k], constants->multiplier[k], constants->shifts.right[k]);
    }
}

#else

// All of them are known here, and nothing that comes later is begun: gcc would work on everything
// at once, and keep a half of it on the stack.
#define LSTM_KEEP_ALL(values)                                                                      \
    __asm__ volatile(""                                                                            \
                     : "+r"((values)[0]), "+r"((values)[1]), "+r"((values)[2]), "+r"((values)[3]))

// Scale the sums of the parts from `first` on.
LSTM_INLINE void lstm_scale_all(int32_t *sums, int first, const lstm_constants_t *constants) {
    // Loaded one after the other, a word takes one cycle.
    const int32_t *from = constants->multiplier + first;
    int32_t m[GATES] = {from[0], from[1], from[2], from[3]};
    LSTM_KEEP_ALL(m);
#pragma GCC unroll 4
    for (int gate = 0; gate < GATES; gate++) {
        sums[gate] =
            lstm_scale(sums[gate], m[gate], LSTM_OF(&constants->shifts, right[first + gate]));
    }
    LSTM_KEEP_ALL(sums);
}

// The parts of a unit's gates, Q3.12.
LSTM_INLINE void lstm_parts(int32_t *parts, const int32_t *bias, lstm_part_t *given,
                            lstm_part_t *recalled, const lstm_constants_t *constants) {
    int32_t recalled_sums[GATES] = {0, 0, 0, 0};
    lstm_add_product(recalled_sums, recalled, LSTM_FINE, LSTM_RECURRENT_FORMATS,
                     LSTM_RECURRENT_WIDTHS, false);
    lstm_scale_all(recalled_sums, PARTS_RECURRENT, constants);
    int32_t given_sums[GATES] = {bias[0], bias[1], bias[2], bias[3]};
    LSTM_KEEP_ALL(given_sums);
    lstm_add_product(given_sums, given, 0, LSTM_INPUT_FORMATS, LSTM_INPUT_WIDTHS, LSTM_ONE_INPUT);
    lstm_scale_all(given_sums, PARTS_INPUT, constants);
#pragma GCC unroll 4
    for (int gate = 0; gate < GATES; gate++) {
        parts[PARTS_INPUT + gate] = given_sums[gate];
        parts[PARTS_RECURRENT + gate] = recalled_sums[gate];
    }
}

#endif

// A gate's parts become one.
LSTM_INLINE int32_t lstm_gate(const int32_t *parts, int gate) {
    int32_t sum = parts[PARTS_INPUT + gate] + parts[PARTS_RECURRENT + gate];
    return LSTM_SUM_SATURATES ? LSTM_SATURATE(sum, 16) : sum;
}

// The parts of one unit's gates, Q3.12, become its cell and its hidden value.
LSTM_INLINE int8_t lstm_unit(const int32_t *parts, int16_t *state,
                             const lstm_constants_t *constants) {
    const lstm_shifts_t *shifts = &constants->shifts;
    const int16_t *table = LSTM_TABLE;
#if !FORECAST_PREFER_SIZE
    LSTM_KEEP_HERE(table);
#endif
    // Scales that are powers of two have a multiplier of 2^30: only the shift is left of
    // lstm_scale.
    int32_t cell = *state;
    int32_t kept = lstm_sigmoid(lstm_gate(parts, GATE_FORGET), table) * cell + (1 << 14) + 1;
    kept = (kept - (int32_t)((uint32_t)cell >> 31 << 1)) >> 15;
    int update = LSTM_OF(shifts, update_right);
    int32_t change = lstm_tanh(3 * lstm_gate(parts, GATE_CELL), table);
    int32_t added = lstm_sigmoid(lstm_gate(parts, GATE_INPUT), table) * change + (1 << update) + 1;
    added = (added - (int32_t)((uint32_t)change >> 31 << 1)) >> (update + 1);
    int cell_scale_power = LSTM_OF(shifts, cell_scale_power);
    if (cell_scale_power < -15) {
        added = LSTM_SATURATE(added, 16);
    }
    int32_t clip = LSTM_OF(shifts, cell_clip);
    if (clip == 0) {
        cell = LSTM_SATURATE(kept + added, 16);
    } else {
        // A saturation clips where int16 ends: the upper bound is moved there, then the lower one.
        int32_t above = INT16_MAX - clip;
        cell = LSTM_SATURATE(kept + added + above, 16);
        cell = LSTM_SATURATE(cell - 2 * above - 1, 16) + above + 1;
    }
    *state = (int16_t)cell;

    int left = cell_scale_power + 12;
    int32_t scaled = 3 * cell;
    if (left >= 0) {
        scaled *= 1 << left;
    } else {
        scaled = (scaled + (1 << (-left - 1))) >> -left;
    }
    int32_t shown = lstm_tanh(scaled, table) * lstm_sigmoid(lstm_gate(parts, GATE_OUTPUT), table);
    // lstm_scale again, with more bits after the point than a word has.
    uint64_t rounding = (uint64_t)(uint32_t)constants->hidden_rounding << 32 | UINT32_C(1) << 31;
    int64_t product = (int64_t)(2 * shown) * constants->hidden_multiplier + (int64_t)rounding;
    int32_t high = (int32_t)(product >> 32) + (shown >> 31);
    return (int8_t)LSTM_SATURATE(high >> LSTM_OF(shifts, hidden_right), 8);
}

void lstm_step(const int8_t *input, const lstm_layer_t *layer, int8_t *hidden, int16_t *cells,
               void *scratch) {
    const lstm_constants_t *constants = (const lstm_constants_t *)layer->constants;
    const int32_t *bias = layer->bias;
    // Both as they are before the step; even in number.
    int16_t *recalled_values = (int16_t *)scratch;
#if LSTM_ONE_INPUT
    int16_t given_values[2];
    uint32_t inputs = 1;
#else
    int16_t *given_values = recalled_values + (layer->hidden_size + 1) / 2 * 2;
    uint32_t inputs = layer->input_size;
#endif
    // Sums of plain weights get their bits after the point from the values.
    bool plain = LSTM_IS(LSTM_DENSE, layer->input.format, LSTM_INPUT_FORMATS) &&
                 LSTM_IS(LSTM_NARROW, lstm_width(inputs), LSTM_INPUT_WIDTHS);
    lstm_part_t given =
        lstm_part(input, &layer->input, given_values, inputs, 0, plain ? LSTM_FINE : 0);
    lstm_part_t recalled = lstm_part(hidden, &layer->recurrent, recalled_values, layer->hidden_size,
                                     layer->hidden_zero_point, 0);
    const int8_t *end = hidden + layer->hidden_size;
    do {
        int32_t parts[PARTS];
        lstm_parts(parts, bias, &given, &recalled, constants);
        bias += GATES;
        *hidden++ = lstm_unit(parts, cells++, constants);
    } while (hidden != end);
}
