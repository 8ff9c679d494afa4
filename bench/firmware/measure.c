// Runs a forecaster on windows that the host can make up too, and prints what it took:
//
//     window <ticks> <outputs in hex>     for each of BENCH_WINDOWS
//     step <ticks>                        a sample of a stream and its forecast
//     stack <bytes>                       of forecast_window and all below it

#include "flash.h"
#include "line.h"
#include "model.h"
#include "port.h"

#define BENCH_WINDOWS 3
#define BENCH_PAINTED 640u  // bytes below main's frame
#define BENCH_PAINT 0x5au

static MODEL_STATE(bench_state);
static int8_t bench_window[MODEL_STEPS * MODEL_FEATURES];
static int8_t bench_outputs[MODEL_OUTPUTS];
static uint32_t bench_random;

static void bench_fill(void) {
    for (uint16_t i = 0; i < MODEL_STEPS * MODEL_FEATURES; i++) {
        bench_random = bench_random * UINT32_C(1664525) + UINT32_C(1013904223);
        bench_window[i] = (int8_t)(uint8_t)(bench_random >> 24);
    }
}

static inline uint8_t *bench_stack_pointer(void) {
    uint8_t *place;
#if defined(__AVR__)
    place = (uint8_t *)(uintptr_t)(*(volatile uint16_t *)0x5d + 1u);  // SPH:SPL, the next free byte
#elif defined(__riscv)
    __asm__ volatile("mv %0, sp" : "=r"(place));
#else
    __asm__ volatile("mov %0, sp" : "=r"(place));
#endif
    return place;
}

int main(void) {
    port_init();
    for (int i = 0; i < BENCH_WINDOWS; i++) {
        bench_fill();
        forecast_reset(&model, bench_state);
        port_start_ticks();
        (void)forecast_window(bench_window, bench_outputs, &model, bench_state);
        const uint32_t ticks = port_ticks();
        line_text(FLASH_TEXT("window "));
        line_unsigned(ticks);
        line_text(FLASH_TEXT(" "));
        line_hex_bytes(bench_outputs, MODEL_OUTPUTS);
        line_end_log();
    }
    port_start_ticks();
    (void)forecast_step(bench_window, &model, bench_state);
    (void)forecast_output(bench_outputs, &model, bench_state);
    const uint32_t step_ticks = port_ticks();

    // Nothing but the forecast is called between painting and looking.
    volatile uint8_t *const top = bench_stack_pointer();
    for (uint16_t i = 1; i <= BENCH_PAINTED; i++) {
        top[-(int)i] = BENCH_PAINT;
    }
    (void)forecast_window(bench_window, bench_outputs, &model, bench_state);
    uint16_t used = BENCH_PAINTED;
    while (used > 0 && top[-(int)used] == BENCH_PAINT) {
        used--;
    }
    line_text(FLASH_TEXT("step "));
    line_unsigned(step_ticks);
    line_end_log();
    line_text(FLASH_TEXT("stack "));
    line_unsigned(used);
    line_end_log();
    for (;;) {
        (void)port_get();
    }
}
