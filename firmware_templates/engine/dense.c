#include "dense.h"

#if DENSE_HAS_LOOKUP || DENSE_HAS_SOFTMAX
#include <stddef.h>
#endif

#if DENSE_HAS_SOFTMAX
#include "softmax.h"
#endif

void dense_forward(const int8_t *input, int8_t *output, const FLASH_DATA dense_layer_t *layer,
                   uint16_t rows) {
    do {
        const FLASH_DATA int8_t *weights = layer->weights;
        const FLASH_DATA int32_t *bias = layer->bias;
        const FLASH_DATA fixed_scale_t *scale = layer->scale;
        const int8_t *outputs_end = output + layer->output_size;
        const int8_t *value;
        do {
            int32_t sum = *bias++;
            const FLASH_DATA int8_t *weights_end = weights + layer->input_size;
            value = input;
            do {
                int16_t product = (int16_t)(*weights++ * *value++);
#if defined(__AVR__)
                // Two instructions, unless the compiler takes the product for one of 32 bits.
                __asm__("" : "+r"(product));
#endif
                sum += product;
            } while (weights != weights_end);
            int32_t result = fixed_multiply(sum, scale) + layer->output_zero_point;
            result = fixed_clamp(result, layer->output_min, layer->output_max);
#if DENSE_HAS_LOOKUP
            if (layer->lookup != NULL) {
                result = layer->lookup[result + 128];
            }
#endif
            *output++ = (int8_t)result;
            scale += layer->scale_step;
        } while (output != outputs_end);
#if DENSE_HAS_SOFTMAX
        if (layer->exponentials != NULL) {
            softmax_forward(output - layer->output_size, layer->exponentials, layer->output_size);
        }
#endif
        input = value;
    } while (FORECAST_WHOLE_SEQUENCE && --rows > 0);  // all else has one row
}
