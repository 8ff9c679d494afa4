// nRF52833 and nRF52840: clock and serial port. Sections are of Nordic's nRF52840 Product
// Specification v1.1; what is used here is the same on the nRF52833, at the same addresses.

#include "port.h"

#include "cortex_m_port.h"
#include "nrf_uart.h"

// 4.5 FICR: the chip's kind and revision, as Nordic's start-up code (MDK) tells revisions apart.
#define PORT_FICR_KIND PORT_REGISTER(0x10000130u)
#define PORT_FICR_REVISION PORT_REGISTER(0x10000134u)
#define PORT_KIND_NRF52840 0x08u
#define PORT_KIND_NRF52833 0x0du

// 4.6 UICR; nRF52833 Product Specification 4.8, "Access port protection".
#define PORT_UICR_APPROTECT PORT_REGISTER(0x10001208u)
#define PORT_APPROTECT_DISABLE PORT_REGISTER(0x40000558u)

// 4.3 NVMC.
#define PORT_NVMC_ICACHECNF PORT_REGISTER(0x4001e540u)
#define PORT_ICACHE_ENABLED 1u

// 5.4 CLOCK.
#define PORT_CLOCK_HFCLKSTART PORT_REGISTER(0x40000000u)
#define PORT_CLOCK_HFCLKSTARTED PORT_REGISTER(0x40000100u)

// 6.9 GPIO: 32 pins in port 0, the others in port 1. Pin P1.03 is number 35.
#define PORT_GPIO(pin) (0x50000000u + 0x300u * ((pin) / 32u))
#define PORT_GPIO_OUTSET(pin) PORT_REGISTER(PORT_GPIO(pin) + 0x508u)
#define PORT_GPIO_PIN_CNF(pin) PORT_REGISTER(PORT_GPIO(pin) + 0x700u + 4u * ((pin) % 32u))
#define PORT_PIN_OUTPUT 3u       // an output whose input buffer is off
#define PORT_PIN_PULLED_UP 0xcu  // an input: an idle line is high

#if BOARD_UART_BASE != 0x40002000u || BOARD_UART_IRQ != 2u
#error "uart.base must be 0x40002000 and BOARD_UART_IRQ 2: an nRF52 has one UART."
#endif
#if BOARD_UART_TX_PIN > 47u || BOARD_UART_RX_PIN > 47u
#error "BOARD_UART_TX_PIN and BOARD_UART_RX_PIN are 32 times the port and the pin, at most 47."
#endif
#if BOARD_CLOCK_HZ != 64000000u
#error "clock_hz must be 64000000: an nRF52 runs at 64 MHz and nothing else."
#endif

// Turns of a waiting loop: some 30 ms for the crystal, which takes less than 1.
#define PORT_CRYSTAL_PATIENCE 200000u

// From these revisions on, a debug probe is locked out after every reset until the firmware opens
// its half of the lock, as UICR asks for (Nordic's IN-142).
static void port_open_debug_port(void) {
    const uint32_t kind = PORT_FICR_KIND;
    const uint32_t revision = PORT_FICR_REVISION;
    if ((kind == PORT_KIND_NRF52840 && revision >= 5u) ||
        (kind == PORT_KIND_NRF52833 && revision >= 1u)) {
        PORT_APPROTECT_DISABLE = PORT_UICR_APPROTECT;
    }
}

void port_init(void) {
    // A boot loader may have left any interrupt on, and the UART, too.
    PORT_REGISTER(0xe000e180u) = 0xffffffffu;
    PORT_REGISTER(0xe000e184u) = 0xffffffffu;
    port_stop_uart();
    port_open_debug_port();
    PORT_NVMC_ICACHECNF = PORT_ICACHE_ENABLED;
    // Without the crystal the internal oscillator goes on: 64 MHz too, right to some percent.
    PORT_CLOCK_HFCLKSTARTED = 0;
    PORT_CLOCK_HFCLKSTART = 1;
    port_awaits(&PORT_CLOCK_HFCLKSTARTED, PORT_CRYSTAL_PATIENCE);
    PORT_GPIO_OUTSET(BOARD_UART_TX_PIN) = 1u << (BOARD_UART_TX_PIN % 32u);
    PORT_GPIO_PIN_CNF(BOARD_UART_TX_PIN) = PORT_PIN_OUTPUT;
    PORT_GPIO_PIN_CNF(BOARD_UART_RX_PIN) = PORT_PIN_PULLED_UP;
    port_start_uart();
}

uint32_t port_clock_hz(void) {
    return BOARD_CLOCK_HZ;
}
