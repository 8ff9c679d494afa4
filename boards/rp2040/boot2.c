// Boot stage 2: the first 256 bytes of flash. The chip's ROM copies them into RAM and runs them
// there when the checksum fits (RP2040 Datasheet 2.8.1.3); they make the rest of flash readable at
// 0x10000000 and enter the firmware as a reset does.
//
// The ROM wants a checksum that no linker computes. So this is machine code: each line's comment
// is its source, which a test assembles and compares, and the checksum with it.
//
// The flash is read with command 03h, 24 address bits, on one wire: every serial flash knows it.
// A quarter of 125 MHz is within the 50 MHz that W25Q16JV allows for it (its data sheet, 9.6).

#include <stdint.h>

typedef struct {
    uint16_t code[126];
    uint32_t
        checksum;  // CRC-32 of the code: 0x04c11db7, from 0xffffffff, not reflected (2.8.1.3.1)
} boot2_t;

// The SSI's registers: 4.10.13.
// clang-format off
__attribute__((section(".boot"), used)) static const boot2_t boot2 = {
    .code = {
        0x4b0b,          // ldr r3, [pc, #44]     @ the SSI
        0x2000,          // movs r0, #0
        0x6098,          // str r0, [r3, #0x08]   @ SSIENR: off while it is set up
        0x2004,          // movs r0, #4
        0x6158,          // str r0, [r3, #0x14]   @ BAUDR: the core's clock / 4
        0x2001,          // movs r0, #1
        0x6118,          // str r0, [r3, #0x10]   @ SER: selects the flash
        0x4809,          // ldr r0, [pc, #36]
        0x6018,          // str r0, [r3, #0x00]   @ CTRLR0
        0x2000,          // movs r0, #0
        0x6058,          // str r0, [r3, #0x04]   @ CTRLR1: one frame at a time
        0x4808,          // ldr r0, [pc, #32]
        0x21f4,          // movs r1, #0xf4
        0x5058,          // str r0, [r3, r1]      @ SPI_CTRLR0
        0x2001,          // movs r0, #1
        0x6098,          // str r0, [r3, #0x08]   @ SSIENR: on
        0x4806,          // ldr r0, [pc, #24]
        0x4907,          // ldr r1, [pc, #28]
        0x6008,          // str r0, [r1]          @ VTOR: the firmware's vectors
        0xc806,          // ldmia r0!, {r1, r2}
        0xf381, 0x8808,  // msr msp, r1           @ its stack
        0x4710,          // bx r2                 @ its entry
        0x46c0,          // nop                   @ words are aligned
        0x0000, 0x1800,  // .word 0x18000000
        0x0300, 0x001f,  // .word 0x001f0300      @ frames of 32 bits, reads only, one wire
        0x0218, 0x0300,  // .word 0x03000218      @ command 03h in 8 bits, address in 24
        0x0100, 0x1000,  // .word 0x10000100      @ after these 256 bytes
        0xed08, 0xe000,  // .word 0xe000ed08
    },
    .checksum = 0xa0481d2eu,
};
// clang-format on
