// Feeds windows from stdin to the engine on the host and writes everything it computed to stdout.
//
// For each window of MODEL_STEPS * MODEL_FEATURES bytes: after every step, h then c of every layer;
// after the last, the outputs. With the argument `keep` the state is carried from window to window.

#include <stdio.h>
#include <string.h>

#include "model.h"

static MODEL_STATE(state);

static void harness_write(const void *bytes, size_t size) {
    if (fwrite(bytes, 1, size, stdout) != size) {
        perror("stdout");
    }
}

int main(int argc, char **argv) {
    int keep = argc > 1 && strcmp(argv[1], "keep") == 0;
    int8_t window[MODEL_STEPS * MODEL_FEATURES];
    int8_t outputs[MODEL_OUTPUTS];
    forecast_reset(&model, state);
    while (fread(window, 1, sizeof(window), stdin) == sizeof(window)) {
        if (!keep) {
            forecast_reset(&model, state);
        }
        forecast_rewind(&model, state);
        for (int step = 0; step < MODEL_STEPS; step++) {
            if (forecast_step(window + step * MODEL_FEATURES, &model, state) != FORECAST_OK) {
                return 1;
            }
            for (uint8_t layer = 0; layer < MODEL_LSTM_COUNT; layer++) {
                size_t size = model.lstms[layer].hidden_size;
                harness_write(forecast_hidden(layer, &model, state), size);
                harness_write(forecast_cells(layer, &model, state), size * sizeof(int16_t));
            }
        }
        if (forecast_output(outputs, &model, state) != FORECAST_OK) {
            return 1;
        }
        harness_write(outputs, sizeof(outputs));
    }
    return 0;
}
