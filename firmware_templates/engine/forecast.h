// One forecast from a window of samples: LSTM layers over time, then dense layers.
//
// The model is constant data that the generator rendered (model.c); the state is the caller's RAM,
// sized by the macros of model.h. No malloc, no floating point, no recursion, no C library.
//
//     static MODEL_STATE(state);
//     forecast_reset(&model, state);
//     for each sample: forecast_step(sample, &model, state);     // int8, model.features of them
//     forecast_output(outputs, &model, state);                   // int8, model.outputs of them
//
// A stream is the same without an end: a step and an output for each new sample, at 1 / model.steps
// of a window's cost. What a power cut must not take, forecast_save writes out and
// forecast_restore puts back.
//
// Parameters come in the order: input, output, constant data, state.

#ifndef SHELFCAST_FORECAST_H
#define SHELFCAST_FORECAST_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "dense.h"
#include "flash.h"
#include "lstm.h"

#define FORECAST_ENGINE_VERSION 2
#define FORECAST_HAS_STEPS 1  // samples can be fed one by one, and states be looked at

enum forecast_status {
    FORECAST_OK = 0,
    FORECAST_ERR_STEPS = -1,  // more samples than the window has, in a model that needs them all
    FORECAST_ERR_EARLY = -2,  // the head needs the whole window, and it is not there yet
    FORECAST_ERR_SAVED = -3,  // what should be restored was saved by another model
};

// A whole model. In flash.
typedef struct {
    uint32_t crc32;                          // of the .tflite file
    uint16_t steps;                          // samples in a window
    uint16_t features;                       // int8 values in a sample
    uint16_t outputs;                        // int8 values in a forecast
    uint8_t lstm_count;                      // FORECAST_LSTM_LAYERS, at least 1
    uint8_t dense_count;                     // FORECAST_DENSE_LAYERS, may be 0
    const FLASH_DATA lstm_layer_t *lstms;    // (lstm_count), first to last
    const FLASH_DATA dense_layer_t *denses;  // (dense_count), first to last
    // Where the parts of the state begin, in bytes; int16 cells (sum of hidden sizes) are first.
    uint16_t hidden_at;  // int8 (sum of hidden sizes)
    uint16_t hidden_end;
    uint16_t step_at;      // uint16, where the head reads the whole sequence: samples so far
    uint16_t scratch_at;   // what lstm_step needs, aligned to 4 bytes
    uint16_t between_at;   // int8, two vectors between dense layers, one after the other
    uint16_t between;      // bytes of one of them
    uint16_t sequence_at;  // int8 (steps, last hidden size), where the head reads all of it
} forecast_model_t;

// What a model keeps between samples, then what it works with. RAM of MODEL_STATE_BYTES; only the
// functions below look into it.
typedef uint32_t forecast_state_t;

// Put every layer into its zero state: hidden at its zero point, cells at 0. Starts a window.
void forecast_reset(const FLASH_DATA forecast_model_t *model, forecast_state_t *state);

// Start a new window without touching the LSTM state (a carried-over sequence).
void forecast_rewind(const FLASH_DATA forecast_model_t *model, forecast_state_t *state);

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

// Write what the model keeps between samples into saved (MODEL_SAVED_BYTES). The bytes mean the
// same on every board: the model's CRC, cells, hidden values; numbers are little-endian.
void forecast_save(uint8_t *saved, const FLASH_DATA forecast_model_t *model,
                   const forecast_state_t *state);

// Go on from what forecast_save wrote, on this or another board. Returns FORECAST_OK, or
// FORECAST_ERR_SAVED and leaves the state as it is.
int forecast_restore(const uint8_t *saved, const FLASH_DATA forecast_model_t *model,
                     forecast_state_t *state);

// Hidden state (hidden_size) and cells (hidden_size) of one layer, for the host to compare.
const int8_t *forecast_hidden(uint8_t layer, const FLASH_DATA forecast_model_t *model,
                              const forecast_state_t *state);
const int16_t *forecast_cells(uint8_t layer, const FLASH_DATA forecast_model_t *model,
                              const forecast_state_t *state);

#endif
