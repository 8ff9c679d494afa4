// nRF51: clock, serial port and the counter behind the ticks. nRF51 Series Reference Manual 3.0.
//
// The core has no SysTick, so a timer counts: all 32 bits of TIMER0, at the core's 16 MHz.

#include "port.h"

#include "cortex_m_port.h"
#include "nrf_uart.h"

// nRF51 RM 13: clocks.
#define PORT_CLOCK_HFCLKSTART PORT_REGISTER(0x40000000u)
#define PORT_CLOCK_HFCLKSTARTED PORT_REGISTER(0x40000100u)

// nRF51 RM 14: pins.
#define PORT_GPIO_OUTSET PORT_REGISTER(0x50000508u)
#define PORT_GPIO_PIN_CNF(pin) PORT_REGISTER(0x50000700u + 4u * (pin))
#define PORT_PIN_OUTPUT 3u       // an output whose input buffer is off
#define PORT_PIN_PULLED_UP 0xcu  // an input: an idle line is high

// nRF51 RM 18: timer.
#define PORT_TIMER_START PORT_REGISTER(0x40008000u)
#define PORT_TIMER_CLEAR PORT_REGISTER(0x4000800cu)
#define PORT_TIMER_CAPTURE0 PORT_REGISTER(0x40008040u)
#define PORT_TIMER_BITMODE PORT_REGISTER(0x40008508u)
#define PORT_TIMER_PRESCALER PORT_REGISTER(0x40008510u)
#define PORT_TIMER_CC0 PORT_REGISTER(0x40008540u)
#define PORT_BITMODE_32 3u

#if BOARD_CLOCK_HZ != 16000000u
#error "clock_hz must be 16000000: an nRF51 runs at 16 MHz and nothing else."
#endif

// Turns of a waiting loop: some 30 ms for the crystal, which takes 1.
#define PORT_CRYSTAL_PATIENCE 50000u

void port_init(void) {
    // Without the crystal the internal oscillator goes on: 16 MHz too, right to some percent.
    PORT_CLOCK_HFCLKSTARTED = 0;
    PORT_CLOCK_HFCLKSTART = 1;
    port_awaits(&PORT_CLOCK_HFCLKSTARTED, PORT_CRYSTAL_PATIENCE);
    PORT_GPIO_OUTSET = 1u << BOARD_UART_TX_PIN;
    PORT_GPIO_PIN_CNF(BOARD_UART_TX_PIN) = PORT_PIN_OUTPUT;
    PORT_GPIO_PIN_CNF(BOARD_UART_RX_PIN) = PORT_PIN_PULLED_UP;
    port_start_uart();
    PORT_TIMER_BITMODE = PORT_BITMODE_32;
    PORT_TIMER_PRESCALER = 0;
    PORT_TIMER_START = 1;
}

uint32_t port_clock_hz(void) {
    return BOARD_CLOCK_HZ;
}

void port_start_ticks(void) {
    PORT_TIMER_CLEAR = 1;
}

uint32_t port_ticks(void) {
    PORT_TIMER_CAPTURE0 = 1;
    return PORT_TIMER_CC0;
}

#ifdef BOARD_STORAGE_BYTES
// nRF51 RM 6: non-volatile memory controller. The core stands still while it works.
#define PORT_NVMC_READY PORT_REGISTER(0x4001e400u)
#define PORT_NVMC_CONFIG PORT_REGISTER(0x4001e504u)
#define PORT_NVMC_ERASEPAGE PORT_REGISTER(0x4001e508u)
#define PORT_NVMC_READ 0u
#define PORT_NVMC_WRITE 1u
#define PORT_NVMC_ERASE 2u
#define PORT_PAGE_BYTES 1024u

#if BOARD_STORAGE_BASE % PORT_PAGE_BYTES != 0 || BOARD_STORAGE_BYTES % (2u * PORT_PAGE_BYTES) != 0
#error "storage must be an even number of whole pages of 1024 bytes."
#endif

// Turns of a waiting loop: some 100 ms for a page, which takes 22.
#define PORT_NVMC_PATIENCE (BOARD_CLOCK_HZ / 80u)

static void port_storage_mode(uint32_t mode) {
    port_awaits(&PORT_NVMC_READY, PORT_NVMC_PATIENCE);
    PORT_NVMC_CONFIG = mode;
}

void port_storage_read(uint16_t at, uint8_t *bytes, uint16_t count) {
    const uint8_t *from = (const uint8_t *)(BOARD_STORAGE_BASE + (uint32_t)at);
    while (count-- > 0) {
        *bytes++ = *from++;
    }
}

void port_storage_write(uint16_t at, const uint8_t *bytes, uint16_t count) {
    const uint32_t start = BOARD_STORAGE_BASE + at;
    port_storage_mode(PORT_NVMC_ERASE);
    for (uint32_t page = start; page < start + count; page += PORT_PAGE_BYTES) {
        PORT_NVMC_ERASEPAGE = page;
        port_awaits(&PORT_NVMC_READY, PORT_NVMC_PATIENCE);
    }
    port_storage_mode(PORT_NVMC_WRITE);
    for (uint16_t i = 0; i < count; i = (uint16_t)(i + 4u)) {
        const uint32_t word = bytes[i] | (uint32_t)bytes[i + 1u] << 8 |
                              (uint32_t)bytes[i + 2u] << 16 | (uint32_t)bytes[i + 3u] << 24;
        PORT_REGISTER(start + i) = word;
        port_awaits(&PORT_NVMC_READY, PORT_NVMC_PATIENCE);
    }
    port_storage_mode(PORT_NVMC_READ);
}
#endif
