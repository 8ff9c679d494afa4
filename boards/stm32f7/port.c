// STM32F765, F767, F777, F769, F779: clock and serial port. RM0410 is ST's reference manual of the
// family.
//
// Code runs from the flash's AXI address, through the core's caches, which start-up turns on. The
// flash's own accelerator serves another address only (RM0410 3.3.2).

#include "port.h"

#include <stdbool.h>

#include "cortex_m_port.h"
#include "stm32_pins.h"
#include "stm32_usart.h"
#include "stm32_usart1236.h"

// RM0410 5.3: reset and clock control.
#define PORT_RCC_CR PORT_REGISTER(0x40023800u)
#define PORT_RCC_PLLCFGR PORT_REGISTER(0x40023804u)
#define PORT_RCC_CFGR PORT_REGISTER(0x40023808u)
#define PORT_RCC_AHB1ENR PORT_REGISTER(0x40023830u)
#define PORT_RCC_APB1ENR PORT_REGISTER(0x40023840u)
#define PORT_RCC_APB2ENR PORT_REGISTER(0x40023844u)
#define PORT_CR_HSEON (1u << 16)
#define PORT_CR_HSERDY (1u << 17)
#define PORT_CR_HSEBYP (1u << 18)
#define PORT_CR_PLLON (1u << 24)
#define PORT_CR_PLLRDY (1u << 25)
#define PORT_PLLCFGR_HSE (1u << 22)
#define PORT_PLLCFGR_R (2u << 28)  // DSI, unused: at least 2
#define PORT_CFGR_SW_PLL 2u
#define PORT_CFGR_SWS_PLL (2u << 2)
#define PORT_CFGR_SWS_MASK (3u << 2)
#define PORT_APB1ENR_PWREN (1u << 28)

// RM0410 4.4: power control.
#define PORT_PWR_CR1 PORT_REGISTER(0x40007000u)
#define PORT_PWR_CSR1 PORT_REGISTER(0x40007004u)
#define PORT_PWR_OVERDRIVE (1u << 16)  // ODEN, ODRDY
#define PORT_PWR_OD_SWITCH (1u << 17)  // ODSWEN, ODSWRDY

// RM0410 3.7.1: flash access control.
#define PORT_FLASH_ACR PORT_REGISTER(0x40023c00u)
#define PORT_ACR_LATENCY_MASK 15u
#define PORT_ACR_PREFETCH (1u << 8)

// RM0410 6.4: pins.
#define PORT_GPIO_INDEX ((BOARD_UART_GPIO_BASE - 0x40020000u) / 0x400u)  // its bit in AHB1ENR

// RM0410 5.3.2: the PLL gets 1 MHz, multiplies it by N to 100..432 MHz, and halves that.
#if BOARD_HSE_HZ % 1000000u != 0 || BOARD_HSE_HZ < 4000000u || BOARD_HSE_HZ > 26000000u
#error "BOARD_HSE_HZ must be whole megahertz, 4 to 26."
#endif
#if BOARD_HSE_BYPASS > 1u
#error "BOARD_HSE_BYPASS must be 0 (a crystal) or 1 (a clock comes in)."
#endif
#if BOARD_CLOCK_HZ % 1000000u != 0 || BOARD_CLOCK_HZ < 50000000u || BOARD_CLOCK_HZ > 216000000u
#error "clock_hz must be whole megahertz, 50 to 216."
#endif
#define PORT_PLL_M (BOARD_HSE_HZ / 1000000u)
#define PORT_PLL_N (2u * (BOARD_CLOCK_HZ / 1000000u))
#define PORT_PLL_Q ((PORT_PLL_N + 47u) / 48u)  // USB, unused: at most 48 MHz

// Data sheet DS11532, "General operating conditions": APB1 runs at most at 45 MHz, APB2 at 90;
// in over-drive, which anything past 180 MHz needs, 54 and 108.
#if BOARD_CLOCK_HZ > 90000000u
#define PORT_APB1_DIVIDER 4u
#define PORT_APB2_DIVIDER 2u
#define PORT_CFGR_DIVIDERS (5u << 10 | 4u << 13)
#else
#define PORT_APB1_DIVIDER 2u
#define PORT_APB2_DIVIDER 1u
#define PORT_CFGR_DIVIDERS (4u << 10)
#endif

// RM0410 3.3.2: a wait state for each 30 MHz, at 2.7 to 3.6 V.
#define PORT_FLASH_LATENCY ((BOARD_CLOCK_HZ - 1u) / 30000000u)

#define PORT_HSI_HZ 16000000u

static uint32_t port_hz = PORT_HSI_HZ;

// Past 180 MHz the regulator must be in over-drive, which it enters while the PLL runs but is not
// used yet (RM0410 4, "Entering Over-drive mode"). Returns false when it does not. Its scale after
// a reset is the right one.
static bool port_overdrives(void) {
    if (BOARD_CLOCK_HZ <= 180000000u) {
        return true;
    }
    PORT_RCC_APB1ENR |= PORT_APB1ENR_PWREN;
    (void)PORT_RCC_APB1ENR;
    PORT_PWR_CR1 |= PORT_PWR_OVERDRIVE;
    if (!port_waits(&PORT_PWR_CSR1, PORT_PWR_OVERDRIVE, PORT_PWR_OVERDRIVE)) {
        PORT_PWR_CR1 &= ~PORT_PWR_OVERDRIVE;
        return false;
    }
    PORT_PWR_CR1 |= PORT_PWR_OD_SWITCH;
    return port_waits(&PORT_PWR_CSR1, PORT_PWR_OD_SWITCH, PORT_PWR_OD_SWITCH);
}

// Run from the crystal, or the clock that comes in at its pin, at BOARD_CLOCK_HZ. Returns false
// when that can't be, and leaves the chip on its internal oscillator.
static bool port_starts_pll(void) {
    PORT_RCC_CR |= BOARD_HSE_BYPASS * PORT_CR_HSEBYP;  // only while HSE is off
    PORT_RCC_CR |= PORT_CR_HSEON;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_HSERDY, PORT_CR_HSERDY)) {
        PORT_RCC_CR &= ~PORT_CR_HSEON;
        return false;
    }
    PORT_RCC_PLLCFGR =
        PORT_PLLCFGR_R | PORT_PLL_Q << 24 | PORT_PLLCFGR_HSE | PORT_PLL_N << 6 | PORT_PLL_M;
    PORT_RCC_CR |= PORT_CR_PLLON;
    if (!port_overdrives() || !port_waits(&PORT_RCC_CR, PORT_CR_PLLRDY, PORT_CR_PLLRDY)) {
        PORT_RCC_CR &= ~(PORT_CR_PLLON | PORT_CR_HSEON);
        return false;
    }
    // The flash must be slow before the core is fast (RM0410 3.3.2).
    PORT_FLASH_ACR = PORT_ACR_PREFETCH | PORT_FLASH_LATENCY;
    if (!port_waits(&PORT_FLASH_ACR, PORT_ACR_LATENCY_MASK, PORT_FLASH_LATENCY)) {
        return false;
    }
    PORT_RCC_CFGR = PORT_CFGR_DIVIDERS;
    PORT_RCC_CFGR = PORT_CFGR_DIVIDERS | PORT_CFGR_SW_PLL;
    if (!port_waits(&PORT_RCC_CFGR, PORT_CFGR_SWS_MASK, PORT_CFGR_SWS_PLL)) {
        PORT_RCC_CFGR = 0;
        return false;
    }
    return true;
}

// Returns the frequency of the USART's bus, which is its clock after a reset.
static uint32_t port_start_clock(void) {
    if (!port_starts_pll()) {
        return port_hz;
    }
    port_hz = BOARD_CLOCK_HZ;
    return BOARD_CLOCK_HZ / (PORT_UART_APB2 ? PORT_APB2_DIVIDER : PORT_APB1_DIVIDER);
}

void port_init(void) {
    const uint32_t bus_hz = port_start_clock();
    PORT_RCC_AHB1ENR |= 1u << PORT_GPIO_INDEX;
    if (PORT_UART_APB2) {
        PORT_RCC_APB2ENR |= 1u << PORT_UART_BIT;
    } else {
        PORT_RCC_APB1ENR |= 1u << PORT_UART_BIT;
    }
    // A peripheral answers some cycles after its clock came on: read back.
    (void)PORT_RCC_AHB1ENR;
    (void)PORT_RCC_APB2ENR;
    port_start_pin(BOARD_UART_TX_PIN);
    port_start_pin(BOARD_UART_RX_PIN);
    port_start_usart(bus_hz);
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
