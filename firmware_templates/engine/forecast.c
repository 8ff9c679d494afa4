#include "forecast.h"

#include <stddef.h>
#include <string.h>

// Values of all layers before `layer`: where its state begins.
static uint16_t forecast_offset(uint8_t layer, const FLASH_DATA forecast_model_t *model) {
    uint16_t offset = 0;
    for (uint8_t k = 0; k < layer; k++) {
        offset = (uint16_t)(offset + model->lstms[k].hidden_size);
    }
    return offset;
}

void forecast_reset(const FLASH_DATA forecast_model_t *model, forecast_state_t *state) {
    uint16_t offset = 0;
    for (uint8_t k = 0; k < model->lstm_count; k++) {
        const FLASH_DATA lstm_layer_t *layer = &model->lstms[k];
        memset(state->hidden + offset, layer->hidden_zero_point, layer->hidden_size);
        memset(state->cells + offset, 0, layer->hidden_size * sizeof(state->cells[0]));
        offset = (uint16_t)(offset + layer->hidden_size);
    }
    forecast_rewind(state);
}

void forecast_rewind(forecast_state_t *state) {
    state->step = 0;
}

int forecast_step(const int8_t *sample, const FLASH_DATA forecast_model_t *model,
                  forecast_state_t *state) {
    if (model->whole_sequence && state->step >= model->steps) {
        return FORECAST_ERR_STEPS;
    }
    uint16_t offset = 0;
    const int8_t *given = sample;
    for (uint8_t k = 0; k < model->lstm_count; k++) {
        const FLASH_DATA lstm_layer_t *layer = &model->lstms[k];
        int8_t *hidden = state->hidden + offset;
        lstm_step(given, state->next, layer, hidden, state->cells + offset);
        memcpy(hidden, state->next, layer->hidden_size);
        given = hidden;
        offset = (uint16_t)(offset + layer->hidden_size);
    }
    if (model->whole_sequence) {
        uint16_t size = model->lstms[model->lstm_count - 1].hidden_size;
        memcpy(state->sequence + (size_t)state->step * size, given, size);
        state->step++;
    }
    return FORECAST_OK;
}

int forecast_output(int8_t *outputs, const FLASH_DATA forecast_model_t *model,
                    forecast_state_t *state) {
    if (model->whole_sequence && state->step < model->steps) {
        return FORECAST_ERR_EARLY;
    }
    uint8_t last = (uint8_t)(model->lstm_count - 1);
    const int8_t *values = forecast_hidden(last, model, state);
    uint16_t size = model->lstms[last].hidden_size;
    if (model->whole_sequence) {
        values = state->sequence;
        size = (uint16_t)(size * model->steps);
    }
    if (model->dense_count == 0) {
        memcpy(outputs, values, size);
    }
    for (uint8_t k = 0; k < model->dense_count; k++) {
        const FLASH_DATA dense_layer_t *layer = &model->denses[k];
        uint16_t rows = (uint16_t)(size / layer->input_size);
        int8_t *result = state->ping;
        if (k + 1 == model->dense_count) {
            result = outputs;
        } else if (values == state->ping) {
            result = state->pong;
        }
        dense_forward(values, result, layer, rows);
        size = (uint16_t)(rows * layer->output_size);
        values = result;
    }
    return FORECAST_OK;
}

int forecast_window(const int8_t *window, int8_t *outputs, const FLASH_DATA forecast_model_t *model,
                    forecast_state_t *state) {
    forecast_rewind(state);
    for (uint16_t step = 0; step < model->steps; step++) {
        int status = forecast_step(window, model, state);
        if (status != FORECAST_OK) {
            return status;
        }
        window += model->features;
    }
    return forecast_output(outputs, model, state);
}

const int8_t *forecast_hidden(uint8_t layer, const FLASH_DATA forecast_model_t *model,
                              const forecast_state_t *state) {
    return state->hidden + forecast_offset(layer, model);
}

const int16_t *forecast_cells(uint8_t layer, const FLASH_DATA forecast_model_t *model,
                              const forecast_state_t *state) {
    return state->cells + forecast_offset(layer, model);
}
