// One dense layer, equal to TFLite Micro's FULLY_CONNECTED with int8 activations and weights.

#ifndef SHELFCAST_DENSE_H
#define SHELFCAST_DENSE_H

#include <stdbool.h>
#include <stdint.h>

#include "fixed_point.h"
#include "flash.h"

typedef struct {
    uint16_t input_size;                    // values in a row
    uint16_t output_size;                   // values a row becomes
    const FLASH_DATA int8_t *weights;       // (outputs, inputs)
    const FLASH_DATA int32_t *bias;         // (outputs), the input's zero point folded in
    const FLASH_DATA fixed_scale_t *scale;  // one for all outputs, or (outputs)
    bool scale_per_output;
    int8_t output_zero_point;
    int8_t output_min;  // the fused activation as bounds
    int8_t output_max;
} dense_layer_t;

// Map rows: input (rows, inputs) to output (rows, outputs).
void dense_forward(const int8_t *input, int8_t *output, const FLASH_DATA dense_layer_t *layer,
                   uint16_t rows);

#endif
