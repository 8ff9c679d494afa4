// One forecast from a window of samples, by the interpreter of TensorFlow Lite Micro: what the
// console needs of a runtime, in the place of the engine's header of the same name.
//
// The interpreter runs whole windows. Nothing tells what it holds between two samples, so there is
// no step, no state to look at, and none to save.
//
// Parameters come in the order: input, output, constant data, state.

#ifndef SHELFCAST_FORECAST_H
#define SHELFCAST_FORECAST_H

#include <stdint.h>

#include "config.h"

#ifdef __cplusplus
extern "C" {
#endif

#define FORECAST_HAS_STEPS 0
#define FORECAST_ENGINE_VERSION 0  // none: the arithmetic is that of the library
#define FORECAST_ARENA_ALIGNMENT 16

enum forecast_status {
    FORECAST_OK = 0,
    FORECAST_ERR_SETUP = -1,   // the interpreter could not place the model in its arena
    FORECAST_ERR_INVOKE = -2,  // it could not run it
};

// A whole model. In flash.
typedef struct {
    uint16_t steps;         // samples in a window
    uint16_t features;      // int8 values in a sample
    uint16_t outputs;       // int8 values in a forecast
    const uint8_t *tflite;  // the file
} forecast_model_t;

// The interpreter's arena. RAM of MODEL_ARENA_BYTES; only the interpreter looks into it.
typedef struct {
    uint8_t bytes[FORECAST_ARENA_ALIGNMENT];
} __attribute__((aligned(FORECAST_ARENA_ALIGNMENT))) forecast_state_t;

// Put every layer into its zero state. The first call sets the interpreter up.
void forecast_reset(const forecast_model_t *model, forecast_state_t *state);

// Start a new window without touching the LSTM state: nothing to do.
void forecast_rewind(const forecast_model_t *model, forecast_state_t *state);

// Feed a window (steps, features) and compute its forecast (outputs). The state is kept as far as
// the library's LSTM keeps it: TensorFlow's own does, that of CMSIS-NN begins with zeros.
int forecast_window(const int8_t *window, int8_t *outputs, const forecast_model_t *model,
                    forecast_state_t *state);

// Bytes of the arena that the interpreter uses; after a failure, used when it gave up.
uint32_t forecast_arena_used(void);

// Whether the interpreter has placed the model in its arena.
int forecast_is_ready(void);

#ifdef __cplusplus
}
#endif

#endif
