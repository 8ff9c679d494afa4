// Feeds samples from stdin to the engine one by one and writes a forecast after each.
//
// After half of them the state is saved, overwritten and restored; the saved bytes come after the
// forecasts. argv[1]: how many samples. Exit code 2: what another model saved was not refused.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

static MODEL_STATE(state);
static uint8_t saved[MODEL_SAVED_BYTES];

static void write_out(const void *bytes, size_t size) {
    if (fwrite(bytes, 1, size, stdout) != size) {
        perror("stdout");
        exit(1);
    }
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 0;
    int8_t sample[MODEL_FEATURES];
    int8_t outputs[MODEL_OUTPUTS];
    forecast_reset(&model, state);
    for (int number = 0; number < count; number++) {
        if (number == count / 2) {
            forecast_save(saved, &model, state);
            forecast_reset(&model, state);
            saved[0] ^= 1u;
            if (forecast_restore(saved, &model, state) != FORECAST_ERR_SAVED) {
                return 2;
            }
            saved[0] ^= 1u;
            memset(state, 0x55, MODEL_STATE_BYTES);
            if (forecast_restore(saved, &model, state) != FORECAST_OK) {
                return 1;
            }
        }
        if (fread(sample, 1, sizeof(sample), stdin) != sizeof(sample) ||
            forecast_step(sample, &model, state) != FORECAST_OK ||
            forecast_output(outputs, &model, state) != FORECAST_OK) {
            return 1;
        }
        write_out(outputs, sizeof(outputs));
    }
    write_out(saved, sizeof(saved));
    return 0;
}
