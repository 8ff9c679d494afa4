// One forecast from a window of samples: LSTM layers over time, then dense layers.
//
// The model is constant data that the generator rendered (model.c); the state is the caller's RAM,
// sized by the macros of model.h. No malloc, no floating point, no recursion, no library but
// memcpy.
//
//     static MODEL_STATE(state);
//     forecast_reset(&model, &state);
//     for each sample: forecast_step(sample, &model, &state);     // int8, model.features of them
//     forecast_output(outputs, &model, &state);                   // int8, model.outputs of them
//
// Parameters come in the order: input, output, constant data, state.

#ifndef SHELFCAST_FORECAST_H
#define SHELFCAST_FORECAST_H

#include <stdbool.h>
#include <stdint.h>

#include "dense.h"
#include "flash.h"
#include "lstm.h"

#define FORECAST_ENGINE_VERSION 1

enum forecast_status {
    FORECAST_OK = 0,
    FORECAST_ERR_STEPS = -1,  // more samples than the window has, in a model that needs them all
    FORECAST_ERR_EARLY = -2,  // the head needs the whole window, and it is not there yet
};

// A whole model. In flash.
typedef struct {
    uint16_t steps;       // samples in a window
    uint16_t features;    // int8 values in a sample
    uint16_t outputs;     // int8 values in a forecast
    uint8_t lstm_count;   // at least 1
    uint8_t dense_count;  // may be 0
    bool whole_sequence;  // the head reads every step's hidden state, not only the last
    const FLASH_DATA lstm_layer_t *lstms;    // (lstm_count), first to last
    const FLASH_DATA dense_layer_t *denses;  // (dense_count), first to last
} forecast_model_t;

// What a model keeps between samples. In RAM; every pointer is set by MODEL_STATE, once.
typedef struct {
    int16_t *cells;  // (sum of hidden sizes) layer by layer, Q(15 - n).n with n = -cell_scale_power
    int8_t *hidden;  // (sum of hidden sizes) layer by layer, quantized as the layer's output
    int8_t *next;    // (largest hidden size) scratch: the hidden state being computed
    int8_t *sequence;  // (steps * last hidden size) for whole-sequence heads, else NULL
    int8_t *ping;      // (largest vector between dense layers) scratch, or NULL with fewer than 2
    int8_t *pong;      // (same) scratch, or NULL with fewer than 3
    uint16_t step;     // samples of the window so far, where the head needs the whole of it
} forecast_state_t;

// Put every layer into its zero state: hidden at its zero point, cells at 0.
void forecast_reset(const FLASH_DATA forecast_model_t *model, forecast_state_t *state);

// Start a new window without touching the LSTM state (a carried-over sequence).
void forecast_rewind(forecast_state_t *state);

// Feed one sample (features). Returns FORECAST_OK or FORECAST_ERR_STEPS.
int forecast_step(const int8_t *sample, const FLASH_DATA forecast_model_t *model,
                  forecast_state_t *state);

// Compute the forecast (outputs) from the state as it is. Returns FORECAST_OK or
// FORECAST_ERR_EARLY.
int forecast_output(int8_t *outputs, const FLASH_DATA forecast_model_t *model,
                    forecast_state_t *state);

// Feed a window (steps, features) and compute its forecast (outputs). The state is kept, not reset.
int forecast_window(const int8_t *window, int8_t *outputs, const FLASH_DATA forecast_model_t *model,
                    forecast_state_t *state);

// Hidden state (hidden_size) and cells (hidden_size) of one layer, for the host to compare.
const int8_t *forecast_hidden(uint8_t layer, const FLASH_DATA forecast_model_t *model,
                              const forecast_state_t *state);
const int16_t *forecast_cells(uint8_t layer, const FLASH_DATA forecast_model_t *model,
                              const forecast_state_t *state);

#endif
