// Cortex-M of every kind: vectors, start-up, faults, and the core's part of port.h.
//
// Registers: ARMv7-M Architecture Reference Manual (ARM DDI 0403): system control block B3.2,
// SysTick B3.3, DWT C1.8. ARMv6-M (DDI 0419: M0, M0+) has a subset, ARMv8-M (DDI 0553: M33, M55)
// the same at the same addresses. The firmware stays in the state the core starts in, which with
// TrustZone is the secure one.

#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "port.h"

#define STARTUP_REGISTER(address) (*(volatile uint32_t *)(address))

#define STARTUP_SYST_CSR STARTUP_REGISTER(0xe000e010u)
#define STARTUP_SYST_RVR STARTUP_REGISTER(0xe000e014u)
#define STARTUP_SYST_CVR STARTUP_REGISTER(0xe000e018u)
#define STARTUP_ICSR STARTUP_REGISTER(0xe000ed04u)
#define STARTUP_VTOR STARTUP_REGISTER(0xe000ed08u)
#define STARTUP_AIRCR STARTUP_REGISTER(0xe000ed0cu)
#define STARTUP_CCR STARTUP_REGISTER(0xe000ed14u)
#define STARTUP_SHCSR STARTUP_REGISTER(0xe000ed24u)
#define STARTUP_CFSR STARTUP_REGISTER(0xe000ed28u)
#define STARTUP_CLIDR STARTUP_REGISTER(0xe000ed78u)
#define STARTUP_CCSIDR STARTUP_REGISTER(0xe000ed80u)
#define STARTUP_CSSELR STARTUP_REGISTER(0xe000ed84u)
#define STARTUP_DEMCR STARTUP_REGISTER(0xe000edfcu)
#define STARTUP_ICIALLU STARTUP_REGISTER(0xe000ef50u)
#define STARTUP_DCISW STARTUP_REGISTER(0xe000ef60u)
#define STARTUP_DWT_CTRL STARTUP_REGISTER(0xe0001000u)
#define STARTUP_DWT_CYCCNT STARTUP_REGISTER(0xe0001004u)
#define STARTUP_DWT_LAR STARTUP_REGISTER(0xe0001fb0u)

#define STARTUP_SYST_ENABLE (1u << 0)
#define STARTUP_SYST_TICKINT (1u << 1)
#define STARTUP_SYST_CLKSOURCE (1u << 2)  // the core's clock
#define STARTUP_SYST_MASK 0x00ffffffu     // 24 bits
#define STARTUP_ICSR_PENDSTSET (1u << 26)
#define STARTUP_ICSR_PENDSTCLR (1u << 25)
#define STARTUP_AIRCR_RESET 0x05fa0004u   // the key and SYSRESETREQ
#define STARTUP_SHCSR_FAULTS (15u << 16)  // each fault under its own name
#define STARTUP_CCR_DC (1u << 16)
#define STARTUP_CCR_IC (1u << 17)
#define STARTUP_CCR_LOB (1u << 19)  // ARMv8.1-M: loops without a branch
#define STARTUP_CLIDR_LEVEL1 7u
#define STARTUP_DEMCR_TRCENA (1u << 24)
#define STARTUP_DWT_CYCCNTENA (1u << 0)
#define STARTUP_DWT_UNLOCK 0xc5acce55u

#define STARTUP_PAINT 0xa5a5a5a5u

// The exception frame: r0-r3, r12, lr, pc, xpsr.
#define STARTUP_FRAME_LR 5
#define STARTUP_FRAME_PC 6
#define STARTUP_FRAME_WORDS 8u

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
void startup_fault(void);
void startup_report(const uint32_t *frame, uint32_t exception);
void startup_systick(void);

static volatile uint32_t startup_ticks_high;  // SysTick's periods, each 2^24 ticks
static bool startup_has_cyccnt;               // decided when a measurement starts

typedef void (*startup_handler_t)(void);

// Every exception that is nobody's is a fault with its number.
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    startup_handler_t system[15];
    startup_handler_t chip[BOARD_UART_IRQ + 1u];
} startup_vectors = {
    .stack = link_stack_top,
    .system = {startup_reset, startup_fault, startup_fault, startup_fault, startup_fault,
               startup_fault, startup_fault, startup_fault, startup_fault, startup_fault,
               startup_fault, startup_fault, startup_fault, startup_fault, startup_systick},
    .chip = {[0 ... BOARD_UART_IRQ] = port_interrupt},
};

// A debugger that jumps here after loading has set no stack pointer, so this sets it.
__attribute__((naked, noreturn)) void startup_reset(void) {
    __asm__ volatile("cpsie i\n"
#if defined(__ARM_FEATURE_MVE)
                     // Vectors are off: CPACR, full access to CP10 and CP11 (DDI 0553 D1.2).
                     "ldr r0, =0xe000ed88\n"
                     "ldr r1, [r0]\n"
                     "orr r1, r1, #0x00f00000\n"
                     "str r1, [r0]\n"
                     // FPCCR without ASPEN and LSPEN (DDI 0553 D1.2): an interrupt then stores 32
                     // bytes, not 104. No handler touches a vector: ports are compiled without.
                     "ldr r0, =0xe000ef34\n"
                     "ldr r1, [r0]\n"
                     "bic r1, r1, #0xc0000000\n"
                     "str r1, [r0]\n"
                     "dsb\n"
                     "isb\n"
#endif
                     "ldr r0, =link_stack_top\n"
                     "msr msp, r0\n"
                     "ldr r0, =startup_main\n"
                     "bx r0\n");
}

#if __ARM_ARCH >= 7
// Caches, where the core has any and no boot loader left them on: their RAM holds anything after
// power-on, so they are emptied first. Nothing but the core touches memory here, so nothing else
// has to know of them.
static void startup_start_caches(void) {
    if ((STARTUP_CLIDR & STARTUP_CLIDR_LEVEL1) == 0 || (STARTUP_CCR & STARTUP_CCR_DC) != 0) {
        return;
    }
    STARTUP_ICIALLU = 0;
    STARTUP_CSSELR = 0;  // data, level 1
    __asm__ volatile("dsb" ::: "memory");
    const uint32_t size = STARTUP_CCSIDR;  // DDI 0403 B4.8.3: sets - 1, ways - 1, line size
    const uint32_t ways = (size >> 3) & 0x3ffu;
    const uint32_t set_shift = (size & 7u) + 4u;
    const uint32_t way_shift = ways == 0 ? 0 : (uint32_t)__builtin_clz(ways);
    for (uint32_t set = 0; set <= ((size >> 13) & 0x7fffu); set++) {
        for (uint32_t way = 0; way <= ways; way++) {
            STARTUP_DCISW = way << way_shift | set << set_shift;
        }
    }
    __asm__ volatile("dsb" ::: "memory");
    STARTUP_CCR |= STARTUP_CCR_IC | STARTUP_CCR_DC;
    __asm__ volatile("dsb\nisb" ::: "memory");
}

// CYCCNT is optional, and reads 0 under emulation: look whether it counts.
static bool startup_starts_cyccnt(void) {
    STARTUP_DEMCR |= STARTUP_DEMCR_TRCENA;
    STARTUP_DWT_LAR = STARTUP_DWT_UNLOCK;  // a Cortex-M7 ignores what follows without it
    STARTUP_DWT_CYCCNT = 0;
    STARTUP_DWT_CTRL |= STARTUP_DWT_CYCCNTENA;
    const uint32_t before = STARTUP_DWT_CYCCNT;
    __asm__ volatile("nop\nnop\nnop\nnop\n");
    return STARTUP_DWT_CYCCNT != before;
}
#else
// ARMv6-M has no cycle counter, no caches, and one fault for all.
static bool startup_starts_cyccnt(void) {
    return false;
}
#endif

__attribute__((noreturn, used)) void startup_main(void) {
#if __ARM_ARCH >= 7
    startup_start_caches();
#endif
#if defined(__ARM_FEATURE_MVE)
    STARTUP_CCR |= STARTUP_CCR_LOB;
#endif
    const uint32_t *load = link_data_load;
    for (uint32_t *word = link_data_start; word < link_data_end; word++) {
        *word = *load++;
    }
    for (uint32_t *word = link_bss_start; word < link_bss_end; word++) {
        *word = 0;
    }
    uint32_t *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    // Through volatile: as a call of memset this would paint over that call's own frame.
    for (volatile uint32_t *word = link_stack_limit; word < here; word++) {
        *word = STARTUP_PAINT;
    }
    STARTUP_VTOR = (uint32_t)&startup_vectors;  // absent on a Cortex-M0, which ignores it
#if __ARM_ARCH >= 7
    STARTUP_SHCSR |= STARTUP_SHCSR_FAULTS;
#endif
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

// The stack may be what is broken: keep it while the frame lies in it with room below for the
// report, else begin a fresh one, which must not lie over a frame that is worth reading.
__attribute__((naked)) void startup_fault(void) {
    __asm__ volatile("mrs r0, msp\n"
                     "mrs r1, ipsr\n"
                     "ldr r2, =link_stack_limit + 256\n"
                     "ldr r3, =link_stack_top\n"
                     "cmp r0, r2\n"
                     "blo 1f\n"
                     "cmp r0, r3\n"
                     "blo 2f\n"
                     "1: msr msp, r3\n"
                     "2: ldr r2, =startup_report\n"
                     "bx r2\n");
}

// Say what happened, then restart the chip. A fault in here locks the core up: it reads nothing
// but registers and what surely is RAM.
__attribute__((noreturn, used)) void startup_report(const uint32_t *frame, uint32_t exception) {
    static const char *const names[] = {"nmi", "hard", "memory", "bus", "usage", "secure"};
    const bool named = exception >= 2 && exception - 2 < sizeof names / sizeof names[0];
    startup_put_text("\n# fault ");
    startup_put_text(named ? names[exception - 2] : "exception");
    if (!named) {
        startup_put_hex(" number=0x", exception);
    }
    // Where the stack ran out, the frame was not stored.
    const uintptr_t first = (uintptr_t)frame;
    if (first >= (uintptr_t)link_stack_limit && first % 4u == 0 &&
        first <= (uintptr_t)link_stack_top - STARTUP_FRAME_WORDS * 4u) {
        startup_put_hex(" pc=0x", frame[STARTUP_FRAME_PC]);
        startup_put_hex(" lr=0x", frame[STARTUP_FRAME_LR]);
    } else {
        startup_put_hex(" sp=0x", (uint32_t)first);
    }
#if __ARM_ARCH >= 7
    startup_put_hex(" cfsr=0x", STARTUP_CFSR);
#endif
    startup_put_text("\n");
    // Two characters may still be in the UART, 10 bits each; a turn takes more than a cycle.
    for (volatile uint32_t wait = 20u * (BOARD_CLOCK_HZ / BOARD_UART_BAUD); wait > 0; wait--) {
    }
    __asm__ volatile("dsb");
    STARTUP_AIRCR = STARTUP_AIRCR_RESET;
    for (;;) {
        // The reset takes a few cycles to come.
    }
}

void startup_systick(void) {
    startup_ticks_high += STARTUP_SYST_MASK + 1u;
}

// Weak: a family whose chip has no SysTick, or a better counter, defines these two itself.

__attribute__((weak)) void port_start_ticks(void) {
    startup_has_cyccnt = startup_starts_cyccnt();
    if (startup_has_cyccnt) {
        STARTUP_DWT_CYCCNT = 0;
        return;
    }
    STARTUP_SYST_RVR = STARTUP_SYST_MASK;
    STARTUP_SYST_CSR = STARTUP_SYST_ENABLE | STARTUP_SYST_TICKINT | STARTUP_SYST_CLKSOURCE;
    STARTUP_SYST_CVR = 0;
    STARTUP_ICSR = STARTUP_ICSR_PENDSTCLR;
    startup_ticks_high = 0;
}

__attribute__((weak)) uint32_t port_ticks(void) {
    if (startup_has_cyccnt) {
        return STARTUP_DWT_CYCCNT;
    }
    // SysTick counts down, and asks for its interrupt as it reaches 0: so 0 is where a period
    // begins. With the interrupt held off, a period that ended in between shows as pending, and
    // the counter is read again on its far side.
    uint32_t masked;
    __asm__ volatile("mrs %0, primask\ncpsid i" : "=r"(masked)::"memory");
    uint32_t high = startup_ticks_high;
    uint32_t count = STARTUP_SYST_CVR;
    if ((STARTUP_ICSR & STARTUP_ICSR_PENDSTSET) != 0) {
        count = STARTUP_SYST_CVR;
        high += STARTUP_SYST_MASK + 1u;
    }
    __asm__ volatile("msr primask, %0" ::"r"(masked) : "memory");
    return high + ((0u - count) & STARTUP_SYST_MASK);
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
