#include "lstm.h"

#include "activation.h"

// Add weights (count, 4 gates) times values (count) less their zero point to the sums (4 gates).
static void lstm_accumulate(const int8_t *values, int32_t *sums, const FLASH_DATA int8_t *weights,
                            uint16_t count, int8_t zero_point) {
    int32_t input = sums[LSTM_INPUT];
    int32_t forget = sums[LSTM_FORGET];
    int32_t cell = sums[LSTM_CELL];
    int32_t output = sums[LSTM_OUTPUT];
    for (uint16_t k = 0; k < count; k++) {
        // At most 255, and products at most 255 * 128: they fit the 16 bits of an int on AVR.
        int value = values[k] - zero_point;
        input += weights[LSTM_INPUT] * value;
        forget += weights[LSTM_FORGET] * value;
        cell += weights[LSTM_CELL] * value;
        output += weights[LSTM_OUTPUT] * value;
        weights += LSTM_GATES;
    }
    sums[LSTM_INPUT] = input;
    sums[LSTM_FORGET] = forget;
    sums[LSTM_CELL] = cell;
    sums[LSTM_OUTPUT] = output;
}

void lstm_step(const int8_t *input, int8_t *next, const FLASH_DATA lstm_layer_t *layer,
               const int8_t *hidden, int16_t *cells) {
    const FLASH_DATA int8_t *input_weights = layer->input_weights;
    const FLASH_DATA int8_t *recurrent_weights = layer->recurrent_weights;
    const FLASH_DATA int32_t *bias = layer->bias;
    for (uint16_t unit = 0; unit < layer->hidden_size; unit++) {
        int32_t given[LSTM_GATES];
        int32_t recalled[LSTM_GATES];
        for (int gate = 0; gate < LSTM_GATES; gate++) {
            given[gate] = bias[gate];
            recalled[gate] = 0;
        }
        lstm_accumulate(input, given, input_weights, layer->input_size, 0);
        lstm_accumulate(hidden, recalled, recurrent_weights, layer->hidden_size,
                        layer->hidden_zero_point);
        bias += LSTM_GATES;
        input_weights += LSTM_GATES * layer->input_size;
        recurrent_weights += LSTM_GATES * layer->hidden_size;

        // Input and recurrent sums have scales of their own: each is brought to Q3.12 and
        // saturated, then their sum is saturated again.
        int16_t gates[LSTM_GATES];  // Q3.12, then Q0.15
        for (int gate = 0; gate < LSTM_GATES; gate++) {
            int16_t a = fixed_saturate16(fixed_multiply(given[gate], &layer->input_scale[gate]));
            int16_t r =
                fixed_saturate16(fixed_multiply(recalled[gate], &layer->recurrent_scale[gate]));
            int16_t sum = fixed_saturate16((int32_t)a + r);
            gates[gate] = gate == LSTM_CELL ? activation_tanh(sum, -12) : activation_sigmoid(sum);
        }

        int16_t kept = fixed_saturate16(
            fixed_multiply((int32_t)gates[LSTM_FORGET] * cells[unit], &layer->forget_scale));
        int16_t added = fixed_saturate16(
            fixed_multiply((int32_t)gates[LSTM_INPUT] * gates[LSTM_CELL], &layer->update_scale));
        int16_t cell = fixed_saturate16((int32_t)kept + added);
        if (layer->cell_clip > 0) {
            cell = (int16_t)fixed_clamp(cell, -layer->cell_clip, layer->cell_clip);
        }
        cells[unit] = cell;

        int16_t bounded = activation_tanh(cell, layer->cell_scale_power);
        int32_t shown = (int32_t)bounded * gates[LSTM_OUTPUT];
        next[unit] = (int8_t)fixed_clamp(fixed_multiply(shown, &layer->hidden_scale) +
                                             layer->hidden_zero_point,
                                         INT8_MIN, INT8_MAX);
    }
}
