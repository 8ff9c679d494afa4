// STM32F405, F407, F415, F417 (BOARD_CHIP 405), F411 (411), F446 (446), and the F2 that came before
// them: F205, F207, F215, F217 (205). Clock and serial port.
// RM0090 is ST's reference manual of the first four, RM0383 that of the F411, RM0390 that of the
// F446, RM0033 that of the F2: registers lie where RM0090 has them, unless a comment says
// otherwise.
//
// An emulator may model none of the clock, flash and pin registers: they read 0, and what is
// written to them is lost. HSIRDY tells: on the chip it is always set after a reset.

#include "port.h"

#include <stdbool.h>

#include "cortex_m_port.h"
#include "stm32_pins.h"
#include "stm32_usart.h"
#include "stm32_usart1236.h"

// RM0090 7.3: reset and clock control.
#define PORT_RCC_CR PORT_REGISTER(0x40023800u)
#define PORT_RCC_PLLCFGR PORT_REGISTER(0x40023804u)
#define PORT_RCC_CFGR PORT_REGISTER(0x40023808u)
#define PORT_RCC_AHB1ENR PORT_REGISTER(0x40023830u)
#define PORT_RCC_APB1ENR PORT_REGISTER(0x40023840u)
#define PORT_RCC_APB2ENR PORT_REGISTER(0x40023844u)
#define PORT_CR_HSIRDY (1u << 1)
#define PORT_CR_HSEON (1u << 16)
#define PORT_CR_HSERDY (1u << 17)
#define PORT_CR_HSEBYP (1u << 18)
#define PORT_CR_PLLON (1u << 24)
#define PORT_CR_PLLRDY (1u << 25)
#define PORT_PLLCFGR_HSE (1u << 22)
#define PORT_PLLCFGR_R (2u << 28)  // F446: unused, at least 2. Elsewhere reserved, and 2 as well
#define PORT_APB1ENR_PWREN (1u << 28)
#define PORT_CFGR_SW_PLL 2u
#define PORT_CFGR_SWS_PLL (2u << 2)
#define PORT_CFGR_SWS_MASK (3u << 2)

// RM0090 3.9.1: flash access control.
#define PORT_FLASH_ACR PORT_REGISTER(0x40023c00u)
#define PORT_ACR_LATENCY_MASK 7u
#define PORT_ACR_CACHES (3u << 9)  // instruction and data cache
#if BOARD_CHIP == 405
#define PORT_ACR_PREFETCH 0u  // revision A cannot (ES0182); the caches hold the inner loops anyway
#else
#define PORT_ACR_PREFETCH (1u << 8)
#endif

// RM0390 5, RM0383 5: power control.
#define PORT_PWR_CR PORT_REGISTER(0x40007000u)
#define PORT_PWR_CSR PORT_REGISTER(0x40007004u)
#define PORT_PWR_VOS (3u << 14)        // scale 1: the full speed
#define PORT_PWR_OVERDRIVE (1u << 16)  // ODEN, ODRDY
#define PORT_PWR_OD_SWITCH (1u << 17)  // ODSWEN, ODSWRDY

// RM0090 8.4: pins.
#define PORT_GPIO_INDEX ((BOARD_UART_GPIO_BASE - 0x40020000u) / 0x400u)  // its bit in AHB1ENR

#if BOARD_CHIP == 411 && BOARD_UART_BASE == 0x40004800u
#error "An STM32F411 has no USART3."
#endif

// RM0090 7.3.2: the PLL gets 1 MHz, multiplies it by N to 100..432 MHz, and halves that.
#if BOARD_HSE_HZ % 1000000u != 0 || BOARD_HSE_HZ < 2000000u || BOARD_HSE_HZ > 26000000u
#error "BOARD_HSE_HZ must be whole megahertz, 2 to 26."
#endif
#if BOARD_HSE_BYPASS > 1u
#error "BOARD_HSE_BYPASS must be 0 (a crystal) or 1 (a clock comes in)."
#endif
#if BOARD_CHIP == 405
#define PORT_MAX_HZ 168000000u
#elif BOARD_CHIP == 411
#define PORT_MAX_HZ 100000000u
#elif BOARD_CHIP == 446
#define PORT_MAX_HZ 180000000u
#elif BOARD_CHIP == 205
#define PORT_MAX_HZ 120000000u
#else
#error "BOARD_CHIP must be 405 (also for F407, F415, F417), 411, 446 or 205 (any F2)."
#endif
#define PORT_MIN_HZ (BOARD_CHIP == 205 ? 96000000u : 50000000u)  // N is at least 192 in RM0033
#if BOARD_CLOCK_HZ % 1000000u != 0 || BOARD_CLOCK_HZ < PORT_MIN_HZ || BOARD_CLOCK_HZ > PORT_MAX_HZ
#if BOARD_CHIP == 405
#error "clock_hz must be whole megahertz, 50 to 168."
#elif BOARD_CHIP == 411
#error "clock_hz must be whole megahertz, 50 to 100."
#elif BOARD_CHIP == 205
#error "clock_hz must be whole megahertz, 96 to 120."
#else
#error "clock_hz must be whole megahertz, 50 to 180."
#endif
#endif
#define PORT_PLL_M (BOARD_HSE_HZ / 1000000u)
#define PORT_PLL_N (2u * (BOARD_CLOCK_HZ / 1000000u))
#define PORT_PLL_Q ((PORT_PLL_N + 47u) / 48u)  // USB and SDIO, unused: at most 48 MHz

// RM0090 7.2: APB1 runs at most at 42 MHz, APB2 at 84; RM0390 6.2: 45 and 90; RM0033 5.2: 30 and
// 60; RM0383 6.2: 50 and 100, which is as fast as an F411 gets.
#if BOARD_CLOCK_HZ > 84000000u && BOARD_CHIP != 411
#define PORT_APB1_DIVIDER 4u
#define PORT_APB2_DIVIDER 2u
#define PORT_CFGR_DIVIDERS (5u << 10 | 4u << 13)
#else
#define PORT_APB1_DIVIDER 2u
#define PORT_APB2_DIVIDER 1u
#define PORT_CFGR_DIVIDERS (4u << 10)
#endif

// RM0090 3.5.1, RM0390 3: a wait state for each 30 MHz, at 2.7 to 3.6 V. RM0383 3 asks for no more
// of the F411.
#define PORT_FLASH_LATENCY ((BOARD_CLOCK_HZ - 1u) / 30000000u)

#define PORT_HSI_HZ 16000000u

static uint32_t port_hz = PORT_HSI_HZ;

// Ask for the core voltage that the full speed needs; it comes with the PLL. The reset value of an
// F405 already does (RM0090 5.4.1), that of an F411 reaches 84 MHz (RM0383 5, PWR_CR).
static void port_raise_voltage(void) {
    if (BOARD_CHIP == 411 || BOARD_CHIP == 446) {
        PORT_RCC_APB1ENR |= PORT_APB1ENR_PWREN;
        (void)PORT_RCC_APB1ENR;
        PORT_PWR_CR |= PORT_PWR_VOS;
    }
}

// Past 168 MHz the regulator of an F446 must be in over-drive, which it enters while the PLL runs
// but is not used yet (RM0390 5, "Entering Over-drive mode"). Returns false when it does not.
static bool port_overdrives(void) {
    if (BOARD_CHIP != 446 || BOARD_CLOCK_HZ <= 168000000u) {
        return true;
    }
    PORT_PWR_CR |= PORT_PWR_OVERDRIVE;
    if (!port_waits(&PORT_PWR_CSR, PORT_PWR_OVERDRIVE, PORT_PWR_OVERDRIVE)) {
        PORT_PWR_CR &= ~PORT_PWR_OVERDRIVE;
        return false;
    }
    PORT_PWR_CR |= PORT_PWR_OD_SWITCH;
    return port_waits(&PORT_PWR_CSR, PORT_PWR_OD_SWITCH, PORT_PWR_OD_SWITCH);
}

// Run from the crystal, or the clock that comes in at its pin, at BOARD_CLOCK_HZ. Returns false
// when that can't be, and leaves the chip on its internal oscillator.
static bool port_starts_pll(void) {
    port_raise_voltage();
    PORT_RCC_CR |= BOARD_HSE_BYPASS * PORT_CR_HSEBYP;  // only while HSE is off (RM0090 7.3.1)
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
    // The flash must be slow before the core is fast (RM0090 3.5.1).
    PORT_FLASH_ACR = PORT_ACR_CACHES | PORT_ACR_PREFETCH | PORT_FLASH_LATENCY;
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

// Returns the frequency of the USART's bus.
static uint32_t port_start_clock(void) {
    if ((PORT_RCC_CR & PORT_CR_HSIRDY) == 0) {
        port_hz = BOARD_CLOCK_HZ;  // no clock registers: an emulator, which runs at the profile's
        return BOARD_CLOCK_HZ;
    }
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
    // A peripheral answers two cycles after its clock came on (RM0090 7.2): read back.
    (void)PORT_RCC_APB2ENR;
    port_start_pin(BOARD_UART_TX_PIN);
    port_start_pin(BOARD_UART_RX_PIN);
    port_start_usart(bus_hz);
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
