// One dense layer, equal to TFLite Micro's FULLY_CONNECTED with int8 activations and weights, and
// the TANH, LOGISTIC or SOFTMAX behind it.

#ifndef SHELFCAST_DENSE_H
#define SHELFCAST_DENSE_H

#include <stdint.h>

#include "config.h"
#include "fixed_point.h"
#include "flash.h"

typedef struct {
    uint16_t input_size;                    // values in a row
    uint16_t output_size;                   // values a row becomes
    const FLASH_DATA int8_t *weights;       // (outputs, inputs)
    const FLASH_DATA int32_t *bias;         // (outputs), the input's zero point folded in
    const FLASH_DATA fixed_scale_t *scale;  // one for all outputs, or (outputs)
    uint8_t scale_step;                     // from one output's scale to the next: 0 or 1
    int8_t output_zero_point;
    int8_t output_min;  // the fused activation as bounds
    int8_t output_max;
#if DENSE_HAS_LOOKUP
    const FLASH_DATA int8_t *lookup;  // (256) what each int8 becomes, from -128 up; or NULL
#endif
#if DENSE_HAS_SOFTMAX
    const FLASH_DATA int32_t *exponentials;  // (256) of a softmax over each row; or NULL
#endif
} dense_layer_t;

// Map rows: input (rows, inputs) to output (rows, outputs).
void dense_forward(const int8_t *input, int8_t *output, const FLASH_DATA dense_layer_t *layer,
                   uint16_t rows);

#endif
