// One LSTM layer, one step: int8 inputs, hidden state and weights, int16 cells.
//
// Equal to TFLite Micro's UNIDIRECTIONAL_SEQUENCE_LSTM (int8 activations, int16 cell) in every
// hidden value and every cell after every step.

#ifndef SHELFCAST_LSTM_H
#define SHELFCAST_LSTM_H

#include <stdint.h>

#include "fixed_point.h"
#include "flash.h"

// Order of the gates in every array here.
enum lstm_gate {
    LSTM_INPUT,
    LSTM_FORGET,
    LSTM_CELL,
    LSTM_OUTPUT,
    LSTM_GATES
};

// A layer's constants. The four gates of a unit lie side by side, in the order they are read.
typedef struct {
    uint16_t input_size;                         // 1..256
    uint16_t hidden_size;                        // 1..256
    const FLASH_DATA int8_t *input_weights;      // (hidden, inputs, 4 gates)
    const FLASH_DATA int8_t *recurrent_weights;  // (hidden, hidden, 4 gates)
    const FLASH_DATA int32_t *bias;         // (hidden, 4 gates), the input's zero point folded in
    fixed_scale_t input_scale[LSTM_GATES];  // sums -> Q3.12
    fixed_scale_t recurrent_scale[LSTM_GATES];  // sums -> Q3.12
    fixed_scale_t forget_scale;                 // forget gate * cell -> cell
    fixed_scale_t update_scale;                 // input gate * cell gate -> cell
    fixed_scale_t hidden_scale;                 // tanh(cell) * output gate -> hidden
    int16_t cell_clip;        // the cell stays in [-cell_clip, cell_clip]; 0: no clip
    int8_t cell_scale_power;  // the cell's scale is 2^this, -18..-9
    int8_t hidden_zero_point;
} lstm_layer_t;

// Advance one step: input (inputs) and hidden (hidden) give next (hidden); cells (hidden) change in
// place. `next` must not overlap `hidden`.
void lstm_step(const int8_t *input, int8_t *next, const FLASH_DATA lstm_layer_t *layer,
               const int8_t *hidden, int16_t *cells);

#endif
