// STM32L4x6 and L4x5: clock and serial port. RM0351 is ST's reference manual of the family.

#include "port.h"

#include <stdbool.h>

#include "cortex_m_port.h"
#include "stm32_pins.h"
#include "stm32_usart.h"
#include "stm32_usart123.h"

// RM0351 6.4: reset and clock control.
#define PORT_RCC_CR PORT_REGISTER(0x40021000u)
#define PORT_RCC_CFGR PORT_REGISTER(0x40021008u)
#define PORT_RCC_PLLCFGR PORT_REGISTER(0x4002100cu)
#define PORT_RCC_AHB2ENR PORT_REGISTER(0x4002104cu)
#define PORT_RCC_APB1ENR1 PORT_REGISTER(0x40021058u)
#define PORT_RCC_APB2ENR PORT_REGISTER(0x40021060u)
#define PORT_CR_HSION (1u << 8)
#define PORT_CR_HSIRDY (1u << 10)
#define PORT_CR_PLLON (1u << 24)
#define PORT_CR_PLLRDY (1u << 25)
#define PORT_PLLCFGR_HSI16 2u
#define PORT_PLLCFGR_REN (1u << 24)
#define PORT_CFGR_SW_PLL 3u
#define PORT_CFGR_SWS_PLL (3u << 2)
#define PORT_CFGR_SWS_MASK (3u << 2)

// RM0351 3.7.1: flash access control.
#define PORT_FLASH_ACR PORT_REGISTER(0x40022000u)
#define PORT_ACR_LATENCY_MASK 7u
#define PORT_ACR_CACHES (7u << 8)  // prefetch, instruction and data cache

// RM0351 8.4: pins.
#define PORT_GPIO_INDEX ((BOARD_UART_GPIO_BASE - 0x48000000u) / 0x400u)  // its bit in AHB2ENR

// RM0351 6.2.4: HSI16 / 4 is the 4 MHz that the PLL multiplies by N to 64..344 MHz and then halves.
#if BOARD_CLOCK_HZ % 2000000u != 0 || BOARD_CLOCK_HZ < 32000000u || BOARD_CLOCK_HZ > 80000000u
#error "clock_hz must be an even number of megahertz, 32 to 80."
#endif
#define PORT_PLL_M_FIELD 3u  // divides by 4
#define PORT_PLL_N (BOARD_CLOCK_HZ / 2000000u)

// RM0351 3.3.3: a wait state for each 16 MHz, in voltage range 1, which a reset chooses.
#define PORT_FLASH_LATENCY ((BOARD_CLOCK_HZ - 1u) / 16000000u)

// RM0351 6.2.3: MSI, which the chip starts on.
#define PORT_MSI_HZ 4000000u

static uint32_t port_hz = PORT_MSI_HZ;

// Run from the PLL on HSI16, whose 1 % is enough for a UART: no crystal is needed. Returns false
// when that can't be, and leaves the chip on MSI.
static bool port_starts_pll(void) {
    PORT_RCC_CR |= PORT_CR_HSION;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_HSIRDY, PORT_CR_HSIRDY)) {
        return false;
    }
    PORT_RCC_PLLCFGR =
        PORT_PLLCFGR_REN | PORT_PLL_N << 8 | PORT_PLL_M_FIELD << 4 | PORT_PLLCFGR_HSI16;
    PORT_RCC_CR |= PORT_CR_PLLON;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_PLLRDY, PORT_CR_PLLRDY)) {
        PORT_RCC_CR &= ~PORT_CR_PLLON;
        return false;
    }
    // The flash must be slow before the core is fast (RM0351 3.3.3).
    PORT_FLASH_ACR = PORT_ACR_CACHES | PORT_FLASH_LATENCY;
    if (!port_waits(&PORT_FLASH_ACR, PORT_ACR_LATENCY_MASK, PORT_FLASH_LATENCY)) {
        return false;
    }
    PORT_RCC_CFGR = PORT_CFGR_SW_PLL;  // no bus is divided
    if (!port_waits(&PORT_RCC_CFGR, PORT_CFGR_SWS_MASK, PORT_CFGR_SWS_PLL)) {
        PORT_RCC_CFGR = 0;
        return false;
    }
    return true;
}

// Returns the frequency of the USART's bus.
static uint32_t port_start_clock(void) {
    if (port_starts_pll()) {
        port_hz = BOARD_CLOCK_HZ;
    }
    return port_hz;
}

void port_init(void) {
    const uint32_t bus_hz = port_start_clock();
    PORT_RCC_AHB2ENR |= 1u << PORT_GPIO_INDEX;
    if (PORT_UART_APB2) {
        PORT_RCC_APB2ENR |= 1u << PORT_UART_BIT;
    } else {
        PORT_RCC_APB1ENR1 |= 1u << PORT_UART_BIT;
    }
    // A peripheral answers some cycles after its clock came on: read back.
    (void)PORT_RCC_AHB2ENR;
    (void)PORT_RCC_APB2ENR;
    port_start_pin(BOARD_UART_TX_PIN);
    port_start_pin(BOARD_UART_RX_PIN);
    port_start_usart(bus_hz);
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
