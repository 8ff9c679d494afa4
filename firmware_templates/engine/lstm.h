// One LSTM layer, one step: int8 inputs, hidden state and weights, int16 cells.
//
// Equal to TFLite Micro's UNIDIRECTIONAL_SEQUENCE_LSTM (int8 activations, int16 cell) in every
// hidden value and every cell after every step.
//
// A kernel is one file, lstm_<kernel>.c, that defines lstm_step for one kind of core. It reads
// weights, biases and constants in an order of its own: toolchain/firmware/kernels/<kernel>.py lays
// them out and describes them.

#ifndef SHELFCAST_LSTM_H
#define SHELFCAST_LSTM_H

#include <stdint.h>

#include "flash.h"

// How a matrix is stored; docs/sparse.md shows the bytes.
enum lstm_format {
    LSTM_DENSE,      // every weight
    LSTM_BLOCKS,     // the blocks of 2 columns x 4 gates that are not all zero
    LSTM_SCATTERED,  // the weights that are not zero
};

// Weights are read a word at a time where the core has words.
#if defined(__AVR__)
#define LSTM_ALIGNED
#else
#define LSTM_ALIGNED __attribute__((aligned(4)))
#endif

// The weights of all units, unit after unit; within a unit column after column, its four gates
// side by side.
typedef struct {
    const FLASH_DATA int8_t *weights;  // in the kernel's order; aligned to 4 bytes
    const FLASH_DATA uint8_t *index;   // which they are; NULL when dense
    uint8_t format;                    // enum lstm_format
} lstm_matrix_t;

// A layer's constants.
typedef struct {
    uint16_t input_size;             // 1..256
    uint16_t hidden_size;            // 1..256
    lstm_matrix_t input;             // (hidden, inputs, 4 gates)
    lstm_matrix_t recurrent;         // (hidden, hidden, 4 gates)
    const FLASH_DATA int32_t *bias;  // per unit and gate, zero points folded in; kernel's order
    const FLASH_DATA int32_t *constants;  // scales and bounds as the kernel wants them
    int8_t hidden_zero_point;
} lstm_layer_t;

// Advance one step: `input` (inputs) changes `hidden` (hidden) and `cells` (hidden) in place.
// `scratch` is aligned to 4 bytes and as large as the kernel needs for this layer: the generator
// knows. Nothing is kept in it from call to call.
void lstm_step(const int8_t *input, const FLASH_DATA lstm_layer_t *layer, int8_t *hidden,
               int16_t *cells, void *scratch);

#endif
