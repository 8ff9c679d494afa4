// ATmega: what happens before main, the cycle counter, what RAM is used for, faults.
//
// avr-libc has the vectors and sets up the variables. What is cited are sections of the data sheets
// of ATmega328P (DS40002061) and ATmega2560 (2549), which have these registers in the same places.

#include <avr/interrupt.h>
#include <avr/io.h>

#include "flash.h"
#include "port.h"
#include "startup.h"

#define STARTUP_TEXT_OF(number) #number
#define STARTUP_TEXT(macro) STARTUP_TEXT_OF(macro)

#define STARTUP_PAINT 0xa5
#define STARTUP_GUARD_BYTES 4u  // next to the variables: once written, the stack has met them

// From the linker script. Only their addresses mean anything.
extern const uint8_t __data_start[];
extern const uint8_t __bss_end[];
extern uint8_t link_stack_limit[];
extern uint8_t link_stack_top[];

// Between the set-up of the stack pointer and that of the variables, and on into the latter: turns
// the watchdog off, which is still on with its shortest time if it was what restarted the chip, and
// paints the stack. r1 is 0. MCUSR, which holds the watchdog's reset flag, has to be cleared first
// (Watchdog Timer; System Control and Reset, Register Description).
__asm__(".pushsection .init3, \"ax\", @progbits\n"
        "out 0x34, r1\n"  // MCUSR
        "ldi r24, 0x18\n"
        "sts 0x60, r24\n"  // WDTCSR: WDCE and WDE, which allow the next write for 4 cycles
        "sts 0x60, r1\n"
        "ldi r24, " STARTUP_TEXT(STARTUP_PAINT) "\n"
                                                "ldi r25, hi8(link_stack_top)\n"
                                                "ldi r30, lo8(link_stack_limit)\n"
                                                "ldi r31, hi8(link_stack_limit)\n"
                                                "1: st Z+, r24\n"
                                                "cpi r30, lo8(link_stack_top)\n"
                                                "cpc r31, r25\n"
                                                "brne 1b\n"
                                                ".popsection\n");

uint32_t port_static_bytes(void) {
    return (uint16_t)(__bss_end - __data_start);
}

uint32_t port_stack_bytes(void) {
    return (uint16_t)(link_stack_top - link_stack_limit);
}

uint32_t port_stack_used(void) {
    const volatile uint8_t *lowest = link_stack_limit;
    while (lowest < link_stack_top && *lowest == STARTUP_PAINT) {
        lowest++;
    }
    return (uint16_t)(link_stack_top - lowest);
}

// Timer 1 counts cycles; its 16 bits are extended here (16-bit Timer/Counter1, Register
// Description).
static volatile uint16_t startup_wraps;

ISR(TIMER1_OVF_vect) {
    startup_wraps++;
}

void port_start_ticks(void) {
    TCCR1A = 0;
    TCCR1B = 0;
    startup_wraps = 0;
    TCNT1 = 0;
    TIFR1 = 1 << TOV1;
    TIMSK1 = 1 << TOIE1;
    TCCR1B = 1 << CS10;  // every cycle
}

uint32_t port_ticks(void) {
    const uint8_t status = SREG;
    cli();
    const uint16_t low = TCNT1;
    uint16_t high = startup_wraps;
    // It may have wrapped since interrupts are off, before TCNT1 was read.
    if ((TIFR1 & (1 << TOV1)) != 0 && low < 0x8000u) {
        high++;
    }
    SREG = status;
    startup_check_stack();
    return (uint32_t)high << 16 | low;
}

void startup_check_stack(void) {
    for (uint8_t i = 0; i < STARTUP_GUARD_BYTES; i++) {
        if (((const volatile uint8_t *)link_stack_limit)[i] != STARTUP_PAINT) {
            startup_fault(FLASH_TEXT("stack met the variables"));
        }
    }
}

// Say what is wrong, then restart. Nothing in RAM can be relied on any more.
void startup_fault(const FLASH_DATA char *words) {
    cli();
    for (const FLASH_DATA char *next = FLASH_TEXT("\n# fault "); *next != '\0'; next++) {
        port_put((uint8_t)*next);
    }
    for (; *words != '\0'; words++) {
        port_put((uint8_t)*words);
    }
    port_put('\n');
    WDTCSR = (1 << WDCE) | (1 << WDE);
    WDTCSR = 1 << WDE;  // in 16 ms: the last bytes leave in less than one
    for (;;) {
    }
}

// An interrupt that nothing here handles.
ISR(BADISR_vect) {
    startup_fault(FLASH_TEXT("interrupt without a handler"));
}
