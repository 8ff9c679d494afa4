// A runtime that is no interpreter, to have the console around one on a host: a forecast is the sum
// of the window and of how many windows came since the last reset.

#include "forecast.h"
#include "model.h"

static int stub_windows;

void forecast_reset(const forecast_model_t *file, forecast_state_t *state) {
    (void)file;
    (void)state;
    stub_windows = 0;
}

void forecast_rewind(const forecast_model_t *file, forecast_state_t *state) {
    (void)file;
    (void)state;
}

int forecast_window(const int8_t *window, int8_t *outputs, const forecast_model_t *file,
                    forecast_state_t *state) {
    (void)state;
    if (STUB_STATUS != FORECAST_OK) {
        return STUB_STATUS;
    }
    int sum = stub_windows++;
    for (uint32_t place = 0; place < (uint32_t)file->steps * file->features; place++) {
        sum += window[place];
    }
    for (uint16_t place = 0; place < file->outputs; place++) {
        outputs[place] = (int8_t)sum;
    }
    return FORECAST_OK;
}

uint32_t forecast_arena_used(void) {
    return 1234u;
}

int forecast_is_ready(void) {
    return STUB_STATUS != FORECAST_ERR_SETUP;
}
