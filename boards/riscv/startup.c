// 32-bit RISC-V with machine mode: start-up, traps, and the core's part of port.h.
//
// Registers: The RISC-V Instruction Set Manual, Volume II: Privileged Architecture (20211203),
// chapter 3, "Machine-Level ISA".

#include <stdint.h>

#include "board.h"
#include "port.h"

#define STARTUP_PAINT 0xa5a5a5a5u
#define STARTUP_MTVEC_VECTORED 1u

// Placed by the linker script.
extern uint32_t link_data_start[];
extern uint32_t link_data_end[];
extern const uint32_t link_data_load[];
extern uint32_t link_bss_start[];
extern uint32_t link_bss_end[];
extern uint32_t link_stack_limit[];
extern uint32_t link_stack_top[];

int main(void);
void startup_reset(void);
void startup_main(void);
void startup_traps(void);
void startup_fault(void);
void startup_interrupt(void);
void startup_report(uint32_t stack_pointer, uint32_t return_address);

static uint32_t startup_first_tick;

// The first instruction. It is jumped to after a fault as well, where nothing resets the core: so
// it takes no register for granted. mscratch tells whether a fault is being reported.
__attribute__((naked, noreturn, section(".entry"), used)) void startup_reset(void) {
    __asm__ volatile("csrci mstatus, 8\n"  // MIE
                     "csrw mscratch, zero\n"
                     ".option push\n"
                     ".option norelax\n"
                     "la gp, __global_pointer$\n"
                     ".option pop\n"
                     "la sp, link_stack_top\n"
                     "j startup_main\n");
}

// Vectored (3.1.7): exceptions jump to the first entry, interrupt n to entry n. Some cores want
// the table at a multiple of 256.
__attribute__((naked, aligned(256), used)) void startup_traps(void) {
    __asm__ volatile(".option push\n"
                     ".option norvc\n"
                     ".option norelax\n"
                     "j startup_fault\n"
                     ".rept 31\n"
                     "j startup_interrupt\n"
                     ".endr\n"
                     ".option pop\n");
}

__attribute__((interrupt("machine"), used)) void startup_interrupt(void) {
    port_interrupt();
}

static inline uint32_t startup_cycles(void) {
    uint32_t count;
    __asm__ volatile("csrr %0, mcycle" : "=r"(count));
    return count;
}

__attribute__((noreturn, used)) void startup_main(void) {
    const uint32_t *load = link_data_load;
    for (uint32_t *word = link_data_start; word < link_data_end; word++) {
        *word = *load++;
    }
    for (uint32_t *word = link_bss_start; word < link_bss_end; word++) {
        *word = 0;
    }
    uint32_t *here;
    __asm__ volatile("mv %0, sp" : "=r"(here));
    // Through volatile: as a call of memset this would paint over that call's own frame.
    for (volatile uint32_t *word = link_stack_limit; word < here; word++) {
        *word = STARTUP_PAINT;
    }
    __asm__ volatile("csrw mtvec, %0" : : "r"((uintptr_t)startup_traps | STARTUP_MTVEC_VECTORED));
    (void)main();
    for (;;) {
        // main does not return; if it ever does, stay.
    }
}

static void startup_put_text(const char *text) {
    while (*text != '\0') {
        port_put((uint8_t)*text++);
    }
}

static void startup_put_hex(const char *key, uint32_t value) {
    startup_put_text(key);
    for (int shift = 28; shift >= 0; shift -= 4) {
        port_put((uint8_t) "0123456789abcdef"[(value >> shift) & 15u]);
    }
}

// The stack may be what is broken: keep it while it is in RAM with room below for the report, else
// begin a fresh one. Nothing was stored on it: an exception leaves all in registers. A fault while
// one is reported goes straight back to the start.
__attribute__((naked)) void startup_fault(void) {
    __asm__ volatile("csrr t0, mscratch\n"
                     "bnez t0, 3f\n"
                     "csrwi mscratch, 1\n"
                     "mv a0, sp\n"
                     "mv a1, ra\n"
                     "la t0, link_stack_limit + 256\n"
                     "la t1, link_stack_top\n"
                     "bltu sp, t0, 1f\n"
                     "bgeu t1, sp, 2f\n"
                     "1: mv sp, t1\n"
                     "2: andi sp, sp, -16\n"
                     "j startup_report\n"
                     "3: j startup_reset\n");
}

// Say what happened, then restart: the chip, or where it can't be reset, the firmware.
__attribute__((noreturn, used)) void startup_report(uint32_t stack_pointer,
                                                    uint32_t return_address) {
    // mcause (3.1.15): misaligned jumps can't happen with compressed instructions.
    static const char *const names[] = {"exception",  "fetch", "illegal",    "breakpoint",
                                        "misaligned", "load",  "misaligned", "store"};
    uint32_t cause;
    uint32_t address;
    uint32_t value;
    __asm__ volatile("csrr %0, mcause" : "=r"(cause));
    __asm__ volatile("csrr %0, mepc" : "=r"(address));
    __asm__ volatile("csrr %0, mtval" : "=r"(value));
    startup_put_text("\n# fault ");
    startup_put_text(names[cause < sizeof names / sizeof names[0] ? cause : 0]);
    startup_put_hex(" pc=0x", address);
    startup_put_hex(" ra=0x", return_address);
    startup_put_hex(" sp=0x", stack_pointer);
    startup_put_hex(" mcause=0x", cause);
    startup_put_hex(" mtval=0x", value);
    startup_put_text("\n");
    port_restart();
    startup_reset();
    for (;;) {
        // It does not return; the compiler can't know.
    }
}

// Weak: a family whose core counts its cycles elsewhere defines these two itself.

__attribute__((weak)) void port_start_ticks(void) {
    startup_first_tick = startup_cycles();
}

__attribute__((weak)) uint32_t port_ticks(void) {
    return startup_cycles() - startup_first_tick;
}

uint32_t port_static_bytes(void) {
    return (uint32_t)((uintptr_t)link_bss_end - (uintptr_t)link_data_start);
}

uint32_t port_stack_bytes(void) {
    return (uint32_t)((uintptr_t)link_stack_top - (uintptr_t)link_stack_limit);
}

uint32_t port_stack_used(void) {
    const volatile uint32_t *word = link_stack_limit;
    while (word < link_stack_top && *word == STARTUP_PAINT) {
        word++;
    }
    return (uint32_t)((uintptr_t)link_stack_top - (uintptr_t)word);
}
