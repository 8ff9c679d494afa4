// Runs the example of an exported library on a bare emulated core, and tells the emulator through
// semihosting how many values differ from the host's: its exit code.

#include <stdint.h>

#include "example.h"

static void leave(uintptr_t code) {
    const uintptr_t block[2] = {0x20026u, code};  // ADP_Stopped_ApplicationExit
#if defined(__riscv)
    register uintptr_t operation __asm__("a0") = 0x20u;  // SYS_EXIT_EXTENDED
    register const uintptr_t *argument __asm__("a1") = block;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\n"
                     "slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n.option pop" ::"r"(operation),
                     "r"(argument)
                     : "memory");
#else
    register uintptr_t operation __asm__("r0") = 0x20u;
    register const uintptr_t *argument __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" ::"r"(operation), "r"(argument) : "memory");
#endif
    for (;;) {
    }
}

void start(void);
void start(void) {
    leave((uintptr_t)shop_example());
}

#if defined(__riscv)
__asm__(".section .vectors, \"ax\"\n.global _start\n_start: li sp, 0x80200000\nj start\n");
#else
__attribute__((section(".vectors"), used)) static const struct {
    uintptr_t stack;
    void (*reset)(void);
} vectors = {0x20004000u, start};
#endif
