#include "forecast.h"

#include <stddef.h>

// The C library's memcpy and memset are made for speed and have a hundred bytes and more each.

static void forecast_copy(void *target, const void *source, size_t count) {
    uint8_t *to = target;
    const uint8_t *from = source;
    while (count-- > 0) {
        *to++ = *from++;
    }
}

static uint8_t *forecast_fill(uint8_t *target, uint8_t value, uint16_t count) {
    while (count-- > 0) {
        *target++ = value;
    }
    return target;
}

// The parts of the state.

static int8_t *forecast_at(forecast_state_t *state, uint16_t at) {
    return (int8_t *)state + at;
}

#if FORECAST_WHOLE_SEQUENCE
static uint16_t *forecast_count(const FLASH_DATA forecast_model_t *model, forecast_state_t *state) {
    return (uint16_t *)(void *)forecast_at(state, model->step_at);
}

static size_t forecast_sequence_bytes(const FLASH_DATA forecast_model_t *model) {
    return (size_t)model->steps * model->lstms[model->lstm_count - 1].hidden_size;
}
#endif

// Values of all layers before `layer`: where its state begins.
static uint16_t forecast_offset(uint8_t layer, const FLASH_DATA forecast_model_t *model) {
    uint16_t offset = 0;
    while (layer-- > 0) {
        offset = (uint16_t)(offset + model->lstms[layer].hidden_size);
    }
    return offset;
}

void forecast_reset(const FLASH_DATA forecast_model_t *model, forecast_state_t *state) {
    uint8_t *hidden = forecast_fill((uint8_t *)state, 0, model->hidden_at);
    const FLASH_DATA lstm_layer_t *layer = model->lstms;
    for (uint8_t left = model->lstm_count; left > 0; left--) {
        hidden = forecast_fill(hidden, (uint8_t)layer->hidden_zero_point, layer->hidden_size);
        layer++;
    }
    forecast_rewind(model, state);
}

void forecast_rewind(const FLASH_DATA forecast_model_t *model, forecast_state_t *state) {
#if FORECAST_WHOLE_SEQUENCE
    *forecast_count(model, state) = 0;
#else
    (void)model;
    (void)state;
#endif
}

// One step of the layers. Part of whoever calls it: a frame less on the stack.
static inline __attribute__((always_inline)) void
forecast_advance(const int8_t *sample, const FLASH_DATA forecast_model_t *model,
                 forecast_state_t *state) {
    int16_t *cells = (int16_t *)state;
    int8_t *hidden = forecast_at(state, model->hidden_at);
    const FLASH_DATA lstm_layer_t *layer = model->lstms;
    for (uint8_t left = FORECAST_LSTM_LAYERS; left > 0; left--) {
        lstm_step(sample, layer, hidden, cells, forecast_at(state, model->scratch_at));
        sample = hidden;
        cells += layer->hidden_size;
        hidden += layer->hidden_size;
        layer++;
    }
#if FORECAST_WHOLE_SEQUENCE
    uint16_t *count = forecast_count(model, state);
    uint16_t size = model->lstms[model->lstm_count - 1].hidden_size;
    forecast_copy(forecast_at(state, model->sequence_at) + (size_t)*count * size, sample, size);
    (*count)++;
#endif
}

int forecast_step(const int8_t *sample, const FLASH_DATA forecast_model_t *model,
                  forecast_state_t *state) {
#if FORECAST_WHOLE_SEQUENCE
    if (*forecast_count(model, state) >= model->steps) {
        return FORECAST_ERR_STEPS;
    }
#endif
    forecast_advance(sample, model, state);
    return FORECAST_OK;
}

int forecast_output(int8_t *outputs, const FLASH_DATA forecast_model_t *model,
                    forecast_state_t *state) {
#if FORECAST_WHOLE_SEQUENCE
    if (*forecast_count(model, state) < model->steps) {
        return FORECAST_ERR_EARLY;
    }
    const int8_t *values = forecast_at(state, model->sequence_at);
    size_t size = forecast_sequence_bytes(model);
#else
    // The last layer's hidden values are the last before the step counter's place.
    const FLASH_DATA lstm_layer_t *last = &model->lstms[model->lstm_count - 1];
    size_t size = last->hidden_size;
    const int8_t *values = forecast_at(state, model->hidden_end) - size;
#endif
#if FORECAST_DENSE_LAYERS == 0
    forecast_copy(outputs, values, size);
#else
    const FLASH_DATA dense_layer_t *layer = model->denses;
#if FORECAST_DENSE_LAYERS > 1
    // Two vectors take turns.
    int8_t *between = forecast_at(state, model->between_at);
    int8_t *other = between + model->between;
    for (uint8_t left = FORECAST_DENSE_LAYERS - 1; left > 0; left--) {
        uint16_t rows = (uint16_t)(size / layer->input_size);
        dense_forward(values, between, layer, rows);
        size = (size_t)rows * layer->output_size;
        values = between;
        between = other;
        other = (int8_t *)values;
        layer++;
    }
#endif
#if FORECAST_WHOLE_SEQUENCE || FORECAST_DENSE_LAYERS > 1
    dense_forward(values, outputs, layer, (uint16_t)(size / layer->input_size));
#else
    dense_forward(values, outputs, layer, 1);
#endif
#endif
    return FORECAST_OK;
}

int forecast_window(const int8_t *window, int8_t *outputs, const FLASH_DATA forecast_model_t *model,
                    forecast_state_t *state) {
    forecast_rewind(model, state);
    for (uint16_t left = model->steps; left > 0; left--) {
        forecast_advance(window, model, state);
        window += model->features;
    }
    return forecast_output(outputs, model, state);
}

// What is kept lies before the scratch, but for the sequence; the CRC goes before it.

void forecast_save(uint8_t *saved, const FLASH_DATA forecast_model_t *model,
                   const forecast_state_t *state) {
    uint32_t crc32 = model->crc32;
    forecast_copy(saved, &crc32, sizeof(crc32));
    saved += sizeof(crc32);
    forecast_copy(saved, state, model->scratch_at);
#if FORECAST_WHOLE_SEQUENCE
    forecast_copy(saved + model->scratch_at, (const uint8_t *)state + model->sequence_at,
                  forecast_sequence_bytes(model));
#endif
}

int forecast_restore(const uint8_t *saved, const FLASH_DATA forecast_model_t *model,
                     forecast_state_t *state) {
    uint32_t crc32;
    forecast_copy(&crc32, saved, sizeof(crc32));
    if (crc32 != model->crc32) {
        return FORECAST_ERR_SAVED;
    }
    saved += sizeof(crc32);
    forecast_copy(state, saved, model->scratch_at);
#if FORECAST_WHOLE_SEQUENCE
    forecast_copy(forecast_at(state, model->sequence_at), saved + model->scratch_at,
                  forecast_sequence_bytes(model));
#endif
    return FORECAST_OK;
}

const int8_t *forecast_hidden(uint8_t layer, const FLASH_DATA forecast_model_t *model,
                              const forecast_state_t *state) {
    return (const int8_t *)state + model->hidden_at + forecast_offset(layer, model);
}

const int16_t *forecast_cells(uint8_t layer, const FLASH_DATA forecast_model_t *model,
                              const forecast_state_t *state) {
    return (const int16_t *)state + forecast_offset(layer, model);
}
