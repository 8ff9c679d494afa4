// The kernel for any core, in plain C. The four gates of a unit are computed at once, so that a
// value is loaded once for four products.

#include "activation.h"
#include "config.h"
#include "fixed_point.h"
#include "lstm.h"

// Order of the gates in every array here.
enum {
    GATE_INPUT,
    GATE_FORGET,
    GATE_CELL,
    GATE_OUTPUT,
    GATES
};

// A fixed_scale_t whose shift fills a word: on AVR it has 5 bytes by itself.
typedef struct {
    int32_t multiplier;
    int32_t shift;
} lstm_scale_t;

static inline int32_t lstm_scaled(int32_t value, const FLASH_DATA lstm_scale_t *scale) {
    return fixed_multiply(value, (const FLASH_DATA fixed_scale_t *)scale);
}

// What layer->constants holds.
typedef struct {
    lstm_scale_t input_scale[GATES];      // sums -> Q3.12
    lstm_scale_t recurrent_scale[GATES];  // sums -> Q3.12
    lstm_scale_t forget_scale;            // forget gate * cell -> cell
    lstm_scale_t update_scale;            // input gate * cell gate -> cell
    lstm_scale_t hidden_scale;            // tanh(cell) * output gate -> hidden
    int32_t cell_clip;                    // the cell stays in [-cell_clip, cell_clip]; 0: no clip
    int32_t cell_scale_power;             // the cell's scale is 2^this, -18..-9
} lstm_constants_t;

#if LSTM_HAS_BLOCKS || LSTM_HAS_SCATTERED
#define LSTM_IS(format, name) ((format) == (name))
#else
#define LSTM_IS(format, name) ((void)(format), (name) == LSTM_DENSE)
#endif

// Where a matrix is read, from unit to unit.
typedef struct {
    const FLASH_DATA int8_t *weights;
    const FLASH_DATA uint8_t *index;
} lstm_place_t;

// Add the products of one column with its value to four sums by name. At most 255 times 128: a
// product fits the 16 bits of an int on AVR.
#define LSTM_ADD_COLUMN(weights, value)                                                            \
    do {                                                                                           \
        int factor = (value);                                                                      \
        in += (weights)[GATE_INPUT] * factor;                                                      \
        forget += (weights)[GATE_FORGET] * factor;                                                 \
        cell += (weights)[GATE_CELL] * factor;                                                     \
        out += (weights)[GATE_OUTPUT] * factor;                                                    \
        (weights) += GATES;                                                                        \
    } while (0)

// Sums of one unit's weights times values (columns, and one more where they are odd), in variables
// of their own: the compiler would keep an array's in memory. Moves on to the next unit.
static void lstm_multiply(int32_t *sums, lstm_place_t *place, const int16_t *values,
                          uint16_t columns, uint8_t format) {
    const FLASH_DATA int8_t *weights = place->weights;
    int32_t in = 0;
    int32_t forget = 0;
    int32_t cell = 0;
    int32_t out = 0;
    if (LSTM_IS(format, LSTM_DENSE)) {
        const int16_t *end = values + columns;
        do {
            LSTM_ADD_COLUMN(weights, *values++);
        } while (values != end);
    }
#if LSTM_HAS_BLOCKS
    if (LSTM_IS(format, LSTM_BLOCKS)) {
        for (uint8_t left = *place->index++; left > 0; left--) {
            const int16_t *pair = values + 2 * (uint16_t)*place->index++;
            LSTM_ADD_COLUMN(weights, pair[0]);
            LSTM_ADD_COLUMN(weights, pair[1]);
        }
    }
#endif
#if LSTM_HAS_SCATTERED
    if (LSTM_IS(format, LSTM_SCATTERED)) {
        for (uint16_t k = 0; k < columns; k += 2) {
            uint8_t present = *place->index++;
            for (uint8_t column = 0; column < 2; column++) {
                int factor = *values++;
                in += (present & 1 << GATE_INPUT) != 0 ? *weights++ * factor : 0;
                forget += (present & 1 << GATE_FORGET) != 0 ? *weights++ * factor : 0;
                cell += (present & 1 << GATE_CELL) != 0 ? *weights++ * factor : 0;
                out += (present & 1 << GATE_OUTPUT) != 0 ? *weights++ * factor : 0;
                present >>= GATES;
            }
        }
    }
#endif
    place->weights = weights;
    sums[GATE_INPUT] = in;
    sums[GATE_FORGET] = forget;
    sums[GATE_CELL] = cell;
    sums[GATE_OUTPUT] = out;
}

// One unit's gates become its cell and its hidden value.
static int8_t lstm_unit(const int16_t *gates, int16_t *state, int8_t zero_point,
                        const FLASH_DATA lstm_constants_t *constants) {
    int16_t kept = fixed_saturate16(
        lstm_scaled((int32_t)gates[GATE_FORGET] * *state, &constants->forget_scale));
    int16_t added = fixed_saturate16(
        lstm_scaled((int32_t)gates[GATE_INPUT] * gates[GATE_CELL], &constants->update_scale));
    int16_t cell = fixed_saturate16((int32_t)kept + added);
    if (constants->cell_clip > 0) {
        cell = (int16_t)fixed_clamp(cell, -constants->cell_clip, constants->cell_clip);
    }
    *state = cell;
    int16_t bounded = activation_tanh(cell, (int8_t)constants->cell_scale_power);
    int32_t shown = (int32_t)bounded * gates[GATE_OUTPUT];
    return (int8_t)fixed_clamp(lstm_scaled(shown, &constants->hidden_scale) + zero_point, INT8_MIN,
                               INT8_MAX);
}

void lstm_step(const int8_t *input, const FLASH_DATA lstm_layer_t *layer, int8_t *hidden,
               int16_t *cells, void *scratch) {
    const FLASH_DATA lstm_constants_t *constants =
        (const FLASH_DATA lstm_constants_t *)layer->constants;
    const FLASH_DATA int32_t *bias = layer->bias;
    lstm_place_t input_place = {layer->input.weights, layer->input.index};
    lstm_place_t recurrent_place = {layer->recurrent.weights, layer->recurrent.index};
    // Both as they are before the step, the hidden state less its zero point; even in number.
    int16_t *given = (int16_t *)scratch;
    int16_t *recalled = given + (layer->input_size + 1) / 2 * 2;
    for (uint16_t k = 0; k < layer->input_size; k++) {
        given[k] = input[k];
    }
    for (uint16_t k = 0; k < layer->hidden_size; k++) {
        recalled[k] = (int16_t)(hidden[k] - layer->hidden_zero_point);
    }
    for (uint16_t unit = 0; unit < layer->hidden_size; unit++) {
        int32_t given_sums[GATES];
        int32_t recalled_sums[GATES];
        lstm_multiply(given_sums, &input_place, given, layer->input_size, layer->input.format);
        lstm_multiply(recalled_sums, &recurrent_place, recalled, layer->hidden_size,
                      layer->recurrent.format);
        for (int gate = 0; gate < GATES; gate++) {
            given_sums[gate] += *bias++;
        }

        // Input and recurrent sums have scales of their own: each is brought to Q3.12 and
        // saturated, then their sum is saturated again.
        int16_t gates[GATES];  // Q3.12, then Q0.15
        for (int gate = 0; gate < GATES; gate++) {
            int16_t a =
                fixed_saturate16(lstm_scaled(given_sums[gate], &constants->input_scale[gate]));
            int16_t r = fixed_saturate16(
                lstm_scaled(recalled_sums[gate], &constants->recurrent_scale[gate]));
            int16_t sum = fixed_saturate16((int32_t)a + r);
            gates[gate] = gate == GATE_CELL ? activation_tanh(sum, -12) : activation_sigmoid(sum);
        }
        hidden[unit] = lstm_unit(gates, &cells[unit], layer->hidden_zero_point, constants);
    }
}
