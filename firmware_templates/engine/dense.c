#include "dense.h"

void dense_forward(const int8_t *input, int8_t *output, const FLASH_DATA dense_layer_t *layer,
                   uint16_t rows) {
    for (uint16_t row = 0; row < rows; row++) {
        const FLASH_DATA int8_t *weights = layer->weights;
        for (uint16_t i = 0; i < layer->output_size; i++) {
            int32_t sum = layer->bias[i];
            for (uint16_t k = 0; k < layer->input_size; k++) {
                sum += (int32_t)weights[k] * input[k];
            }
            weights += layer->input_size;
            const FLASH_DATA fixed_scale_t *scale = &layer->scale[layer->scale_per_output ? i : 0];
            int32_t value = fixed_multiply(sum, scale) + layer->output_zero_point;
            *output++ = (int8_t)fixed_clamp(value, layer->output_min, layer->output_max);
        }
        input += layer->input_size;
    }
}
