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
