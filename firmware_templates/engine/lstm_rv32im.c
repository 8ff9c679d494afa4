// The kernel for RV32IM. For speed the four weights of a column are read as one word and take three
// multiplications, and what holds for all layers of a model becomes part of the code; for size
// everything is done by as few functions as there can be.
//
// toolchain/firmware/kernels/rv32im.py lays out what is read here.

#include <stdbool.h>

#include "activation.h"
#include "config.h"
#include "fixed_point.h"
#include "lstm.h"

#if !ACTIVATION_TABLE_POSITIVE
#error "the kernel reads the table of positive knots"
#endif

// Order of the gates in every array here.
enum {
    GATE_INPUT,
    GATE_FORGET,
    GATE_CELL,
    GATE_OUTPUT,
    GATES
};

#define LSTM_INLINE static inline __attribute__((always_inline))

// Keep gcc from knowing how a value came about: it would compute it again from others, at length.
#define LSTM_KEEP(value) __asm__("" : "+r"(value))

// Four bytes of flash at once, whatever they are declared as.
typedef uint32_t __attribute__((may_alias)) lstm_word_t;

// The upper word of a product: one instruction, unless gcc widens `a` long before.
LSTM_INLINE int32_t lstm_high(int32_t a, uint32_t b) {
    LSTM_KEEP(a);
    return (int32_t)((uint64_t)((int64_t)a * (int64_t)b) >> 32);
}

LSTM_INLINE int32_t lstm_saturate16(int32_t value) {
    return value == (int16_t)value ? value : (value >> 31) ^ INT16_MAX;
}

#if LSTM_HAS_SCATTERED
// Add the products of one unit's weights that are not zero. Moves on to the next unit.
static void lstm_add_scattered(int32_t *sums, const int8_t **weights, const uint8_t **index,
                               const int16_t *values, uint32_t columns) {
    const int8_t *weight = *weights;
    const uint8_t *next = *index;
    const int16_t *end = values + columns;
    int32_t in = sums[GATE_INPUT];
    int32_t forget = sums[GATE_FORGET];
    int32_t cell = sums[GATE_CELL];
    int32_t out = sums[GATE_OUTPUT];
    uint32_t present = 0;
    for (uint32_t column = 0; values != end; column++) {
        int32_t value = *values++;
        // A byte has the bits of two columns.
        present = column % 2 == 0 ? *next++ : present >> GATES;
        if ((present & 1 << GATE_INPUT) != 0) {
            in += *weight++ * value;
        }
        if ((present & 1 << GATE_FORGET) != 0) {
            forget += *weight++ * value;
        }
        if ((present & 1 << GATE_CELL) != 0) {
            cell += *weight++ * value;
        }
        if ((present & 1 << GATE_OUTPUT) != 0) {
            out += *weight++ * value;
        }
    }
    sums[GATE_INPUT] = in;
    sums[GATE_FORGET] = forget;
    sums[GATE_CELL] = cell;
    sums[GATE_OUTPUT] = out;
    *weights = weight;
    *index = next;
}
#endif

#if FORECAST_PREFER_SIZE

// Scales of a layer, in the order of its constants.
enum {
    SCALE_INPUT = 0,          // one per gate
    SCALE_RECURRENT = GATES,  // one per gate
    SCALE_FORGET = 2 * GATES,
    SCALE_UPDATE,
    SCALE_HIDDEN,
    SCALES
};

// What layer->constants holds. Multipliers are doubled, and so is what they multiply: the upper
// word of a product then has one bit after the point, and rounding needs no other.
typedef struct {
    uint32_t multiplier[SCALES];
    int8_t right[SCALES];  // a shift to the left is a negative one to the right
    int8_t tanh_right;     // cell -> tanh
    uint16_t tanh_half;
    uint16_t tanh_multiplier;
    int16_t cell_low;  // the cell stays between them
    int16_t cell_high;
} lstm_constants_t;

// One of the two matrix products of a step, from the next unit on.
typedef struct {
    const int8_t *weights;
    const int16_t *values;
    uint32_t columns;
#if LSTM_HAS_BLOCKS || LSTM_HAS_SCATTERED
    const uint8_t *index;
    uint32_t format;
#endif
} lstm_part_t;

// start + value * scale, the product and the sum saturated to 16 bits. Rounded twice as
// fixed_multiply does.
static __attribute__((noinline)) int32_t
lstm_add_scaled(int32_t start, int32_t value, const lstm_constants_t *constants, int scale) {
    int right = constants->right[scale];
    uint32_t doubled = (uint32_t)value << 1;
#if LSTM_SHIFTS_LEFT
    if (right < 0) {
        doubled <<= -right;
        right = 0;
    }
#endif
    int32_t high = (lstm_high((int32_t)doubled, constants->multiplier[scale]) + 1) >> 1;
    int32_t half = (int32_t)((UINT32_C(1) << right) >> 1);
    // One less for negative values; but not where there is no half to round.
    high = (high + half + ((high & -half) >> 31)) >> right;
    return lstm_saturate16(start + lstm_saturate16(high));
}

// The activations differ in how far apart the knots are.
enum {
    LSTM_TANH,
    LSTM_SIGMOID
};

// The table at value / 2^(8 + kind), Q0.15.
static __attribute__((noinline)) int32_t lstm_activate(int32_t value, unsigned kind) {
    int32_t sign = value >> 31;
    uint32_t magnitude = (uint32_t)((value ^ sign) - sign);
    uint32_t last = (UINT32_C(255) << 8) - 1;
    if (magnitude > last && kind == LSTM_TANH) {
        magnitude = last;
    }
    unsigned bits = 8 + kind;
    uint32_t place = magnitude >> bits;
    const int16_t *knot = &activation_table[place];
    int32_t low = knot[0];
    int32_t fraction = (int32_t)(magnitude - (place << bits));
    int32_t line = (int32_t)((uint32_t)low << bits) + fraction * (knot[1] - low);
    // Of a sigmoid, which is half as steep, one more bit is rounded away.
    int32_t result = ((line >> (2 * kind)) + (1 << 7)) >> 8;
    return ((result ^ sign) - sign) + (int32_t)(kind << 14);
}

static void lstm_widen(int16_t *values, const int8_t *bytes, uint32_t count, int32_t zero_point) {
    do {
        *values++ = (int16_t)(*bytes++ - zero_point);
    } while (--count > 0);
}

// Add the product of the next unit.
static void lstm_add_product(int32_t *sums, lstm_part_t *part) {
#if LSTM_HAS_SCATTERED
    if (part->format == LSTM_SCATTERED) {
        lstm_add_scattered(sums, &part->weights, &part->index, part->values, part->columns);
        return;
    }
#endif
    const int8_t *weights = part->weights;
    int32_t in = sums[GATE_INPUT];
    int32_t forget = sums[GATE_FORGET];
    int32_t cell = sums[GATE_CELL];
    int32_t out = sums[GATE_OUTPUT];
    // Columns lie in runs: of two in blocks, of all when dense.
    uint32_t runs = 1;
#if LSTM_HAS_BLOCKS
    if (part->format == LSTM_BLOCKS) {
        runs = *part->index++;
    }
#endif
    while (runs-- > 0) {
        const int16_t *values = part->values;
        uint32_t left = part->columns;
#if LSTM_HAS_BLOCKS
        if (part->format == LSTM_BLOCKS) {
            values += 2 * (uint32_t)*part->index++;
            left = 2;
        }
#endif
        do {
            int32_t value = *values++;
            in += weights[GATE_INPUT] * value;
            forget += weights[GATE_FORGET] * value;
            cell += weights[GATE_CELL] * value;
            out += weights[GATE_OUTPUT] * value;
            weights += GATES;
        } while (--left > 0);
    }
    part->weights = weights;
    sums[GATE_INPUT] = in;
    sums[GATE_FORGET] = forget;
    sums[GATE_CELL] = cell;
    sums[GATE_OUTPUT] = out;
}

static lstm_part_t lstm_part(const lstm_matrix_t *matrix, const int16_t *values, uint32_t columns) {
    lstm_part_t part = {
        .weights = matrix->weights,
        .values = values,
        .columns = columns,
#if LSTM_HAS_BLOCKS || LSTM_HAS_SCATTERED
        .index = matrix->index,
        .format = matrix->format,
#endif
    };
    return part;
}

void lstm_step(const int8_t *input, const lstm_layer_t *layer, int8_t *hidden, int16_t *cells,
               void *scratch) {
    const lstm_constants_t *constants = (const lstm_constants_t *)layer->constants;
    const int32_t *bias = layer->bias;
    int16_t *given = (int16_t *)scratch;
    // Both as they are before the step; even in number.
    int16_t *recalled = given + (layer->input_size + 1) / 2 * 2;
    lstm_widen(given, input, layer->input_size, 0);
    lstm_widen(recalled, hidden, layer->hidden_size, layer->hidden_zero_point);
    lstm_part_t parts[2] = {
        lstm_part(&layer->input, given, layer->input_size),
        lstm_part(&layer->recurrent, recalled, layer->hidden_size),
    };
    const int8_t *end = hidden + layer->hidden_size;
    do {
        int32_t gates[2 * GATES] = {0, 0, 0, 0, bias[0], bias[1], bias[2], bias[3]};
        int32_t *sums = gates + GATES;
        bias += GATES;
        int scale = 0;
        for (lstm_part_t *part = parts; part != parts + 2; part++) {
            lstm_add_product(sums, part);
            for (int32_t *gate = gates; gate != gates + GATES; gate++) {
                *gate = lstm_add_scaled(*gate, gate[GATES], constants, scale++);
                gate[GATES] = 0;
            }
        }
        for (unsigned gate = 0; gate < GATES; gate++) {
            gates[gate] =
                lstm_activate(3 * gates[gate], gate == GATE_CELL ? LSTM_TANH : LSTM_SIGMOID);
        }
        int32_t cell = lstm_add_scaled(0, gates[GATE_FORGET] * *cells, constants, SCALE_FORGET);
        cell = lstm_add_scaled(cell, gates[GATE_INPUT] * gates[GATE_CELL], constants, SCALE_UPDATE);
        cell = fixed_clamp(cell, constants->cell_low, constants->cell_high);
        *cells++ = (int16_t)cell;
        int32_t scaled =
            (cell * constants->tanh_multiplier + constants->tanh_half) >> constants->tanh_right;
        int32_t shown = lstm_activate(scaled, LSTM_TANH) * gates[GATE_OUTPUT];
        shown = lstm_add_scaled(layer->hidden_zero_point, shown, constants, SCALE_HIDDEN);
        *hidden++ = (int8_t)fixed_clamp(shown, INT8_MIN, INT8_MAX);
    } while (hidden != end);
}

#else

// Whether what there is `now` is one of the kinds, of which `kinds` has the bits of those that
// occur in the model. Known when compiled where only one does.
LSTM_INLINE bool lstm_is(unsigned one, unsigned now, unsigned kinds) {
    return (kinds >> one & 1) != 0 && (kinds == 1u << one || now == one);
}

// Matrices of few columns are stored plainly: unpacking sums is not worth it.
enum lstm_width {
    LSTM_NARROW,  // up to LSTM_NARROW_COLUMNS: a column's weights are int8
    LSTM_WIDE,    // a column's weights are a word to be unpacked; all blocks are
};
enum {
    LSTM_NARROW_COLUMNS = 7,
    LSTM_INPUT_LEFT = 1,  // inputs are doubled, and hidden values where their sums allow it
};

// The scales of a layer beside their multipliers. A shift to the left is a negative one to the
// right.
typedef struct {
    int8_t input_right[GATES];
    int8_t recurrent_right[GATES];
    int8_t update_right;
    int8_t hidden_right;
    int8_t cell_scale_power;  // the cell's scale is 2^this, -18..-9
    int8_t unused;
    int32_t cell_clip;  // the cell stays in [-cell_clip, cell_clip]; 0: no clip
} lstm_shifts_t;

// What all layers of the model agree in, as far as they do: it becomes part of the code.
static const lstm_shifts_t lstm_agreed = {
    .input_right = {LSTM_INPUT_RIGHT_0, LSTM_INPUT_RIGHT_1, LSTM_INPUT_RIGHT_2, LSTM_INPUT_RIGHT_3},
    .recurrent_right = {LSTM_RECURRENT_RIGHT_0, LSTM_RECURRENT_RIGHT_1, LSTM_RECURRENT_RIGHT_2,
                        LSTM_RECURRENT_RIGHT_3},
    .update_right = LSTM_UPDATE_RIGHT,
    .hidden_right = LSTM_HIDDEN_RIGHT,
    .cell_scale_power = LSTM_CELL_SCALE_POWER,
    .cell_clip = LSTM_CELL_CLIP,
};
enum {
    LSTM_VARIES = -128  // where they do not
};
#define LSTM_OF(shifts, name) (lstm_agreed.name == LSTM_VARIES ? (shifts)->name : lstm_agreed.name)

enum {
    MULTIPLIER_INPUT = 0,          // one per gate
    MULTIPLIER_RECURRENT = GATES,  // one per gate
    MULTIPLIER_HIDDEN = 2 * GATES,
    MULTIPLIERS
};

// What layer->constants holds. Multipliers are doubled, and so is what they multiply: the upper
// word of a product then has one bit after the point, and rounding needs no other.
typedef struct {
    uint32_t multipliers[MULTIPLIERS];
    lstm_shifts_t shifts;
} lstm_constants_t;

// One of the two matrix products of a step.
typedef struct {
    lstm_matrix_t matrix;  // from the next unit on
    const int16_t *values;
    const int16_t *most;  // past the last LSTM_COLUMNS_AT_ONCE columns
    const int16_t *end;   // past the last column
    uint32_t start_word;  // what the sums of a unit start from
    uint32_t start_half;
} lstm_part_t;

// What a part's sums start from, so that the 128 added to each weight comes off: the weights of
// `total`, the sum of all values, as bytes of a word and of half a word.
#define LSTM_START_WORD(total) ((total) * -UINT32_C(0x80808080))
#define LSTM_START_HALF(total) ((total) * -UINT32_C(0x8080))

// Widen a part's values, less their zero point and shifted to the left, for as long as the step
// takes.
LSTM_INLINE lstm_part_t lstm_part(const int8_t *bytes, const lstm_matrix_t *matrix, int16_t *values,
                                  uint32_t columns, int32_t zero_point, int left) {
    lstm_part_t part = {
        .matrix = *matrix,
        .values = values,
        .most = values + columns / LSTM_COLUMNS_AT_ONCE * LSTM_COLUMNS_AT_ONCE,
        .end = values + columns,
    };
    uint32_t total = 0;
    do {
        int32_t value = (*bytes++ - zero_point) * (1 << left);
        *values++ = (int16_t)value;
        total += (uint32_t)value;
    } while (values != part.end);
    part.start_word = LSTM_START_WORD(total);
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
// which have 96 bits: all there is of A, the sum of v a, and of B, C, D, as long as each needs no
// more than 24. The generator checks that.
typedef struct {
    uint32_t word;
    uint32_t lower;
    uint32_t upper;
} lstm_packed_t;

LSTM_INLINE void lstm_add_column(lstm_packed_t *sums, uint32_t weights, int16_t value) {
    uint32_t factor = (uint32_t)value;
    sums->word += weights * factor;
    sums->lower += (weights << 8 >> 16) * factor;
    sums->upper += (weights >> 16) * factor;
}

// Two columns, in assembly: gcc would either wait for loads and products, or take so many registers
// that others are saved on the stack around the loop.
LSTM_INLINE uint32_t lstm_add_two_columns(lstm_packed_t *sums, const lstm_word_t *weights,
                                          const int16_t *values) {
    uint32_t word0, word1, lower0, lower1, upper0, upper1, value0, value1;
    __asm__("lw   %[upper0], %[weights0]\n"
            "lw   %[upper1], %[weights1]\n"
            "lh   %[value0], %[values0]\n"
            "lh   %[value1], %[values1]\n"
            "slli %[lower0], %[upper0], 8\n"
            "slli %[lower1], %[upper1], 8\n"
            "srli %[lower0], %[lower0], 16\n"
            "srli %[lower1], %[lower1], 16\n"
            "mul  %[word0], %[upper0], %[value0]\n"
            "mul  %[word1], %[upper1], %[value1]\n"
            "srli %[upper0], %[upper0], 16\n"
            "srli %[upper1], %[upper1], 16\n"
            "mul  %[lower0], %[lower0], %[value0]\n"
            "mul  %[lower1], %[lower1], %[value1]\n"
            "mul  %[upper0], %[upper0], %[value0]\n"
            "mul  %[upper1], %[upper1], %[value1]\n"
            "add  %[word], %[word], %[word0]\n"
            "add  %[word], %[word], %[word1]\n"
            "add  %[lower], %[lower], %[lower0]\n"
            "add  %[lower], %[lower], %[lower1]\n"
            "add  %[upper], %[upper], %[upper0]\n"
            "add  %[upper], %[upper], %[upper1]"
            : [word] "+r"(sums->word), [lower] "+r"(sums->lower), [upper] "+r"(sums->upper),
              [word0] "=&r"(word0), [word1] "=&r"(word1), [lower0] "=&r"(lower0),
              [lower1] "=&r"(lower1), [upper0] "=&r"(upper0), [upper1] "=&r"(upper1),
              [value0] "=&r"(value0), [value1] "=&r"(value1)
            : [weights0] "m"(weights[0]), [weights1] "m"(weights[1]), [values0] "m"(values[0]),
              [values1] "m"(values[1]));
    return value0 + value1;
}

// Add a row's sums, scaled by 2^left.
LSTM_INLINE void lstm_unpack(int32_t *sums, lstm_packed_t packed, int left) {
    // A + 2^24 D, then 2^8 B, then 2^8 C, then 2^8 D.
    int32_t a = (int32_t)((packed.word - (packed.lower << 8)) << 8) >> 8;
    int32_t b = (int32_t)(packed.word - (packed.upper << 16) - (uint32_t)a) >> 8;
    int32_t c = (int32_t)(packed.lower - (uint32_t)b) >> 8;
    int32_t d = (int32_t)(packed.upper - (uint32_t)c) >> 8;
    sums[0] += a * (1 << left);
    sums[1] += b * (1 << left);
    sums[2] += c * (1 << left);
    sums[3] += d * (1 << left);
}

LSTM_INLINE lstm_packed_t lstm_add_wide(lstm_part_t *part) {
    lstm_packed_t sums = {part->start_word, part->start_half, part->start_half};
    const lstm_word_t *weights = (const lstm_word_t *)part->matrix.weights;
    const int16_t *values = part->values;
    do {
        lstm_add_two_columns(&sums, weights, values);
        lstm_add_two_columns(&sums, weights + 2, values + 2);
#if LSTM_COLUMNS_AT_ONCE == 8
        lstm_add_two_columns(&sums, weights + 4, values + 4);
        lstm_add_two_columns(&sums, weights + 6, values + 6);
#endif
        weights += LSTM_COLUMNS_AT_ONCE;
        values += LSTM_COLUMNS_AT_ONCE;
        LSTM_KEEP(weights);
    } while (values != part->most);
#if LSTM_COLUMNS_LEFT
    while (values != part->end) {
        lstm_add_column(&sums, *weights++, *values++);
        LSTM_KEEP(weights);
    }
#endif
    part->matrix.weights = (const int8_t *)weights;
    return sums;
}

LSTM_INLINE lstm_packed_t lstm_add_blocks(lstm_part_t *part) {
    lstm_packed_t sums = {0, 0, 0};
    const lstm_word_t *weights = (const lstm_word_t *)part->matrix.weights;
    const uint8_t *index = part->matrix.index;
    const uint8_t *end = index + 1 + *index;
    uint32_t total = 0;  // of the values met
    for (index++; index != end; index++) {
        const int16_t *pair = part->values + 2 * (uint32_t)*index;
        total += lstm_add_two_columns(&sums, weights, pair);
        weights += 2;
        LSTM_KEEP(weights);
    }
    sums.word += LSTM_START_WORD(total);
    sums.lower += LSTM_START_HALF(total);
    sums.upper += LSTM_START_HALF(total);
    part->matrix.weights = (const int8_t *)weights;
    part->matrix.index = index;
    return sums;
}

LSTM_INLINE void lstm_add_narrow(int32_t *sums, lstm_part_t *part, bool one) {
    const int8_t *weights = part->matrix.weights;
    const int16_t *values = part->values;
    do {
        int32_t value = *values++;
        sums[0] += weights[0] * value;
        sums[1] += weights[1] * value;
        sums[2] += weights[2] * value;
        sums[3] += weights[3] * value;
        weights += GATES;
        LSTM_KEEP(weights);
    } while (!one && values != part->end);
    part->matrix.weights = weights;
}

// Add a part's product for the next unit, doubled; its values are shifted by `left` already.
//
// Constants: the formats and widths that the part has in some layer, bits of the enums; whether it
// has one column in all of them.
LSTM_INLINE void lstm_add_product(int32_t *sums, lstm_part_t *part, int left, unsigned formats,
                                  unsigned widths, bool one) {
    enum lstm_width width =
        part->end - part->values > LSTM_NARROW_COLUMNS ? LSTM_WIDE : LSTM_NARROW;
    if (lstm_is(LSTM_DENSE, part->matrix.format, formats)) {
        if (lstm_is(LSTM_NARROW, width, widths)) {
            lstm_add_narrow(sums, part, one);
        } else {
            lstm_unpack(sums, lstm_add_wide(part), 1 - left);
        }
    } else if (lstm_is(LSTM_BLOCKS, part->matrix.format, formats)) {
        lstm_unpack(sums, lstm_add_blocks(part), 1 - left);
    } else {
#if LSTM_HAS_SCATTERED
        lstm_add_scattered(sums, &part->matrix.weights, &part->matrix.index, part->values,
                           (uint32_t)(part->end - part->values));
#endif
    }
}

// A doubled sum times a scale, rounded twice as fixed_multiply does. The shift is either agreed on
// or else `stored`.
LSTM_INLINE int32_t lstm_scale(int32_t doubled, uint32_t multiplier, int agreed, int stored) {
    bool varies = agreed == LSTM_VARIES;
    int right = varies ? stored : agreed;
    if (right < 0 && (LSTM_SHIFTS_LEFT || !varies)) {
        doubled = (int32_t)((uint32_t)doubled << -right);
        right = 0;
    }
    int32_t high = lstm_high(doubled, multiplier);
    if (varies) {
        int32_t half = (int32_t)((UINT32_C(1) << right) >> 1);
        // One less for negative values; but not where there is no half to round.
        high = (high + 1) >> 1;
        return (high + half + ((high & -half) >> 31)) >> right;
    }
    // Where the shift is known, the two roundings are one.
    if (right == 0) {
        return (high + 1) >> 1;
    }
    return (high + 2 * (high >> 31) + (INT32_C(1) << right) + 1) >> (right + 1);
}

// The table at magnitude / 2^bits, with `bits` more bits of fraction. The knot is below 255.
LSTM_INLINE int32_t lstm_line(uint32_t magnitude, unsigned bits) {
    const int16_t *knot = &activation_table[magnitude >> bits];
    LSTM_KEEP(knot);
    int32_t low = knot[0];
    int32_t fraction = (int32_t)(magnitude & ((UINT32_C(1) << bits) - 1));
    return low * (INT32_C(1) << bits) + fraction * (knot[1] - low);
}

// What follows is odd but for a constant: computed for the magnitude, it takes the sign, 0 or -1.

LSTM_INLINE int32_t lstm_sigmoid(int32_t value) {
    int32_t sign = value >> 31;
    uint32_t magnitude = (uint32_t)((value ^ sign) - sign);
#if LSTM_SUM_SATURATES
    if (magnitude > (uint32_t)(INT16_MAX - sign)) {
        magnitude = (uint32_t)(INT16_MAX - sign);
    }
#endif
    // The table has 24 knots per unit and the value 4096 steps: 3/512 knots per step.
    int32_t above = (lstm_line(3 * magnitude, 9) + (1 << 9)) >> 10;
    return (above ^ sign) + ((1 << 14) - sign);
}

// `magnitude` has 8 bits after the knot.
LSTM_INLINE int32_t lstm_tanh(uint32_t magnitude, int32_t sign) {
    uint32_t last = (UINT32_C(255) << 8) - 1;
    int32_t result = (lstm_line(magnitude > last ? last : magnitude, 8) + (1 << 7)) >> 8;
    return (result ^ sign) - sign;
}

// Both sums of a gate as Q3.12. Each is saturated, and so is their sum; the activations do that.
LSTM_INLINE int32_t lstm_gate(int gate, const int32_t *given, const int32_t *recalled,
                              const uint32_t *multipliers, const lstm_shifts_t *shifts) {
    int32_t a = lstm_scale(given[gate], multipliers[MULTIPLIER_INPUT + gate],
                           lstm_agreed.input_right[gate], shifts->input_right[gate]);
    int32_t r = lstm_scale(recalled[gate], multipliers[MULTIPLIER_RECURRENT + gate],
                           lstm_agreed.recurrent_right[gate], shifts->recurrent_right[gate]);
#if LSTM_INPUT_SATURATES
    a = lstm_saturate16(a);
#endif
#if LSTM_RECURRENT_SATURATES
    r = lstm_saturate16(r);
#endif
    return a + r;
}

// One unit's sums become its cell and its hidden value.
LSTM_INLINE int8_t lstm_unit(const int32_t *given, const int32_t *recalled, int16_t *state,
                             int32_t zero_point, const uint32_t *multipliers,
                             const lstm_shifts_t *shifts) {
    int32_t forget = lstm_sigmoid(lstm_gate(GATE_FORGET, given, recalled, multipliers, shifts));
    int32_t in = lstm_sigmoid(lstm_gate(GATE_INPUT, given, recalled, multipliers, shifts));
    int32_t change = lstm_gate(GATE_CELL, given, recalled, multipliers, shifts);
    int32_t change_sign = change >> 31;
    uint32_t change_magnitude = (uint32_t)((change ^ change_sign) - change_sign);

    // Scales that are powers of two have a multiplier of 2^30: only the shift is left of
    // lstm_scale, and gates are positive, so that the sign of a product is known before it.
    int32_t cell = *state;
    int32_t kept = (forget * cell + 2 * (cell >> 31) + (1 << 14) + 1) >> 15;
    int32_t added = in * lstm_tanh(3 * change_magnitude, change_sign);
    int update = LSTM_OF(shifts, update_right);
    added = (added + 2 * change_sign + (1 << update) + 1) >> (update + 1);
    int cell_scale_power = LSTM_OF(shifts, cell_scale_power);
    if (cell_scale_power < -15) {
        added = lstm_saturate16(added);
    }
    cell = kept + added;
    int32_t clip = LSTM_OF(shifts, cell_clip);
    if (clip == 0) {
        cell = lstm_saturate16(cell);
    }
    int32_t sign = cell >> 31;
    uint32_t magnitude = (uint32_t)((cell ^ sign) - sign);
    if (clip != 0 && magnitude > (uint32_t)clip) {
        magnitude = (uint32_t)clip;
        cell = (clip ^ sign) - sign;
    }
    *state = (int16_t)cell;

    // tanh(x) = 2 sigmoid(2 x) - 1: the same knots, twice as far apart.
    int finer = -12 - cell_scale_power;
    magnitude *= 3;
    if (finer > 0) {
        // Halves go up, which is down in the magnitude of a negative value.
        magnitude = (magnitude + (UINT32_C(1) << (finer - 1)) + (uint32_t)sign) >> finer;
    } else {
        magnitude <<= -finer;
    }
    int32_t out = lstm_sigmoid(lstm_gate(GATE_OUTPUT, given, recalled, multipliers, shifts));
    int32_t shown = lstm_high(2 * out * lstm_tanh(magnitude, sign), multipliers[MULTIPLIER_HIDDEN]);
    // In two roundings: adding both halves at once could overflow.
    int right = LSTM_OF(shifts, hidden_right);
    shown = (shown + 1) >> 1;
    shown = (shown + sign + (1 << (right - 1))) >> right;
    shown += zero_point;
    return (int8_t)(shown == (int8_t)shown ? shown : (shown >> 31) ^ INT8_MAX);
}

void lstm_step(const int8_t *input, const lstm_layer_t *layer, int8_t *hidden, int16_t *cells,
               void *scratch) {
    const lstm_constants_t *constants = (const lstm_constants_t *)layer->constants;
    const int32_t *bias = layer->bias;
    int32_t zero_point = layer->hidden_zero_point;
    // Both as they are before the step; even in number.
    int16_t *given_values = (int16_t *)scratch;
    int16_t *recalled_values = given_values + (layer->input_size + 1) / 2 * 2;
    lstm_part_t given =
        lstm_part(input, &layer->input, given_values, layer->input_size, 0, LSTM_INPUT_LEFT);
    lstm_part_t recalled = lstm_part(hidden, &layer->recurrent, recalled_values, layer->hidden_size,
                                     zero_point, LSTM_RECURRENT_LEFT);
    // Read once per unit from here, not from flash, which a core may have to read without a cache.
    uint32_t multipliers[MULTIPLIERS];
    for (int k = 0; k < MULTIPLIERS; k++) {
        multipliers[k] = constants->multipliers[k];
    }
    const int8_t *end = hidden + layer->hidden_size;
    do {
        // Each is used once per unit: a register for it would be saved on the stack, as it is.
        __asm__("" : "+m"(multipliers));
        int32_t recalled_sums[GATES] = {0, 0, 0, 0};
        lstm_add_product(recalled_sums, &recalled, LSTM_RECURRENT_LEFT, LSTM_RECURRENT_FORMATS,
                         LSTM_RECURRENT_WIDTHS, false);
        int32_t given_sums[GATES] = {bias[0], bias[1], bias[2], bias[3]};
        bias += GATES;
        lstm_add_product(given_sums, &given, LSTM_INPUT_LEFT, LSTM_INPUT_FORMATS, LSTM_INPUT_WIDTHS,
                         LSTM_ONE_INPUT);
        *hidden++ = lstm_unit(given_sums, recalled_sums, cells++, zero_point, multipliers,
                              &constants->shifts);
    } while (hidden != end);
}

#endif
