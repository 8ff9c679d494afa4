// In place of main.c: compares what the kernel computes in vectors with what the engine's plain C
// says of each lane, then forecasts while an interrupt comes every few instructions. Says "right",
// or what is wrong.

#define lstm_step lstm_step_in_parts
#include "lstm_helium.c"
#undef lstm_step

#include "fixed_point.h"
#include "forecast.h"
#include "model.h"
#include "port.h"

#define SYST_CSR (*(volatile uint32_t *)0xe000e010u)
#define SYST_RVR (*(volatile uint32_t *)0xe000e014u)
#define SYST_CVR (*(volatile uint32_t *)0xe000e018u)
#define FPCCR (*(volatile uint32_t *)0xe000ef34u)

// Counted by the interrupt's handler, which changes vectors and counts lanes itself.
volatile uint32_t interrupts;

static uint32_t seed = 1;

static int32_t any(void) {
    seed = seed * 1664525u + 1013904223u;
    return (int32_t)(seed ^ seed >> 15);
}

// Every few values an extreme one.
static int16_t any_int16(int16_t low) {
    int32_t value = any();
    int16_t chosen = (value >> 20 & 7) == 0 ? (value < 0 ? low : INT16_MAX) : (int16_t)(value >> 3);
    return chosen < low ? low : chosen;
}

static void say(const char *text) {
    while (*text != '\0') {
        port_put((uint8_t)*text++);
    }
}

static void end(const char *text) {
    say(text);
    say("\n");
    for (;;) {
    }
}

static void check_activations(void) {
    for (int32_t from = INT16_MIN; from <= INT16_MAX; from += 8) {
        int16_t values[8];
        int16_t results[8];
        for (int k = 0; k < 8; k++) {
            values[k] = (int16_t)(from + k);
        }
        vst1q_s16(results, lstm_sigmoid(values));
        for (int k = 0; k < 8; k++) {
            if (results[k] != activation_sigmoid(values[k])) {
                end("sigmoid");
            }
        }
        for (int8_t power = -18; power <= -9; power++) {
            vst1q_s16(results, lstm_tanh(vld1q_s16(values), power + 12));
            for (int k = 0; k < 8; k++) {
                if (results[k] != activation_tanh(values[k], power)) {
                    end("tanh");
                }
            }
        }
    }
}

static int16_t scaled(int32_t product, int32_t multiplier, int shift) {
    fixed_scale_t scale = {multiplier, (int8_t)shift};
    return fixed_saturate16(fixed_multiply(product, &scale));
}

static void check_products(void) {
    for (int turn = 0; turn < 20000; turn++) {
        int16_t gates[8];
        int16_t values[8];
        int16_t results[8];
        for (int k = 0; k < 8; k++) {
            gates[k] = any_int16(1);
            values[k] = any_int16(INT16_MIN);
            // Products that end in a half of the last bit, and beside one.
            if ((turn & 3) == 0) {
                gates[k] = (int16_t)(1 << (any() & 7));
                values[k] = (int16_t)((any() & ~0xff) + (any() & 1));
            }
        }
        int16x8_t gate = vld1q_s16(gates);
        int16x8_t value = vld1q_s16(values);
        vst1q_s16(results, lstm_keep(gate, value));
        for (int k = 0; k < 8; k++) {
            if (results[k] != scaled(gates[k] * values[k], 1 << 30, -14)) {
                end("keep");
            }
        }
        int shift = -(11 + turn % 10);
        lstm_constants_t constants = {
            .update_shift = shift - 1,
            .hidden_multiplier = (1 << 30) + (any() & 0x3fffffff),
            .hidden_shift = -(16 + turn % 16),
        };
        vst1q_s16(results, lstm_update(gate, value, &constants));
        for (int k = 0; k < 8; k++) {
            if (results[k] != scaled(gates[k] * values[k], 1 << 30, shift)) {
                end("update");
            }
        }
        int32_t shown[4];
        vst1q_s32(shown, lstm_shown(vmullbq_int_s16(gate, value), &constants));
        for (int k = 0; k < 4; k++) {
            int16_t expected = scaled(gates[2 * k] * values[2 * k], constants.hidden_multiplier,
                                      (int)constants.hidden_shift);
            if (shown[k] != expected) {
                end("shown");
            }
        }
    }
}

static void forecast(int8_t *outputs, forecast_state_t *state) {
    static int8_t window[MODEL_STEPS * MODEL_FEATURES];
    for (uint32_t k = 0; k < sizeof window; k++) {
        window[k] = (int8_t)(k * 37u);
    }
    forecast_reset(&model, state);
    if (forecast_window(window, outputs, &model, state) != FORECAST_OK) {
        end("forecast");
    }
}

// Ticks of the core's clock between two interrupts: each begins somewhere else in the loops.
static void check_interrupted(void) {
    static MODEL_STATE(quiet);
    static MODEL_STATE(disturbed);
    int8_t expected[MODEL_OUTPUTS];
    int8_t outputs[MODEL_OUTPUTS];
    forecast(expected, quiet);
    for (uint32_t ticks = 90; ticks < 190; ticks++) {
        uint32_t before = interrupts;
        SYST_RVR = ticks;
        SYST_CVR = 0;
        SYST_CSR = 7;
        forecast(outputs, disturbed);
        SYST_CSR = 0;
        if (interrupts - before < 10) {
            end("not interrupted");
        }
        for (uint32_t k = 0; k < MODEL_SAVED_BYTES - sizeof(uint32_t); k++) {
            if (((uint8_t *)disturbed)[k] != ((uint8_t *)quiet)[k]) {
                end("interrupted");
            }
        }
        if (outputs[0] != expected[0]) {
            end("interrupted output");
        }
    }
}

int main(void) {
    FPCCR |= 0xc0000000u;  // ASPEN, LSPEN: as in a firmware whose interrupts may use vectors
    port_init();
    check_activations();
    check_products();
    check_interrupted();
    end("right");
}
