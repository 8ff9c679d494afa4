// The least that runs a forecaster: vectors, start-up, and one forecast after the other of what
// some interrupt or DMA would put into bare_window. Its size is what a forecast adds to a firmware.

#include "model.h"

static MODEL_STATE(bare_state);
volatile int8_t bare_window[MODEL_STEPS * MODEL_FEATURES];
volatile int8_t bare_outputs[MODEL_OUTPUTS];

int main(void);

int main(void) {
    for (;;) {
        forecast_reset(&model, bare_state);
        (void)forecast_window((const int8_t *)bare_window, (int8_t *)bare_outputs, &model,
                              bare_state);
    }
}

#if !defined(__AVR__)  // its C library has vectors and start-up

#include <stdint.h>

// Placed by the linker script.
extern uint32_t link_bss_start[];
extern uint32_t link_bss_end[];
extern uint32_t link_stack_top[];

void startup_reset(void);
void bare_start(void);

// There are no initialized variables.
__attribute__((noreturn, used)) void bare_start(void) {
#if defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xe000ed88u |= 15u << 20;  // CPACR: the vector unit (DDI 0553, D1.2.47)
    __asm__ volatile("dsb\nisb" ::: "memory");
#endif
    for (uint32_t *word = link_bss_start; word < link_bss_end; word++) {
        *word = 0;
    }
    (void)main();
    for (;;) {
    }
}

#if defined(__riscv)
__attribute__((naked, noreturn, section(".entry"), used)) void startup_reset(void) {
    __asm__ volatile(".option push\n"
                     ".option norelax\n"
                     "la gp, __global_pointer$\n"
                     ".option pop\n"
                     "la sp, link_stack_top\n"
                     "j bare_start\n");
}
#else
static void bare_fault(void) {
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} bare_vectors = {
    .stack = link_stack_top,
    .handlers = {startup_reset, bare_fault, bare_fault, bare_fault, bare_fault, bare_fault,
                 bare_fault, bare_fault, bare_fault, bare_fault, bare_fault, bare_fault, bare_fault,
                 bare_fault, bare_fault},
};

// The core has set the stack pointer from the vectors.
void startup_reset(void) {
    bare_start();
}
#endif

#endif
