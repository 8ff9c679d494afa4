// STM32H742, H743, H753: clock and serial port. RM0433 is ST's reference manual of the family.
//
// Variables and stack go into DTCM: the core reads it without waiting and without a cache, and
// ES0392 ("Reading from AXI SRAM may lead to data read corruption") makes the larger AXI SRAM
// unsafe on chips of revision Y.

#include "port.h"

#include <stdbool.h>

#include "cortex_m_port.h"
#include "stm32_pins.h"
#include "stm32_usart.h"
#include "stm32_usart1236.h"

// RM0433 8.7: reset and clock control.
#define PORT_RCC_CR PORT_REGISTER(0x58024400u)
#define PORT_RCC_CFGR PORT_REGISTER(0x58024410u)
#define PORT_RCC_D1CFGR PORT_REGISTER(0x58024418u)
#define PORT_RCC_D2CFGR PORT_REGISTER(0x5802441cu)
#define PORT_RCC_D3CFGR PORT_REGISTER(0x58024420u)
#define PORT_RCC_PLLCKSELR PORT_REGISTER(0x58024428u)
#define PORT_RCC_PLLCFGR PORT_REGISTER(0x5802442cu)
#define PORT_RCC_PLL1DIVR PORT_REGISTER(0x58024430u)
#define PORT_RCC_AHB4ENR PORT_REGISTER(0x580244e0u)
#define PORT_RCC_APB1LENR PORT_REGISTER(0x580244e8u)
#define PORT_RCC_APB2ENR PORT_REGISTER(0x580244f0u)
#define PORT_CR_HSEON (1u << 16)
#define PORT_CR_HSERDY (1u << 17)
#define PORT_CR_HSEBYP (1u << 18)
#define PORT_CR_PLL1ON (1u << 24)
#define PORT_CR_PLL1RDY (1u << 25)
#define PORT_PLLCKSELR_HSE 2u
#define PORT_PLLCFGR_RANGE_2_TO_4_MHZ (1u << 2)
#define PORT_PLLCFGR_DIVP1EN (1u << 16)
#define PORT_CFGR_SW_PLL1 3u
#define PORT_CFGR_SWS_PLL1 (3u << 3)
#define PORT_CFGR_SWS_MASK (7u << 3)
#define PORT_D1CFGR_HPRE_2 (8u << 0)  // AXI and the AHBs at half the core's frequency
#define PORT_D1CFGR_APB3_2 (4u << 4)  // each APB at half of that
#define PORT_D2CFGR_APB1_2 (4u << 4)
#define PORT_D2CFGR_APB2_2 (4u << 8)
#define PORT_D3CFGR_APB4_2 (4u << 4)

// RM0433 6.8: power control.
#define PORT_PWR_CSR1 PORT_REGISTER(0x58024804u)
#define PORT_PWR_CR3 PORT_REGISTER(0x5802480cu)
#define PORT_PWR_D3CR PORT_REGISTER(0x58024818u)
#define PORT_CSR1_ACTVOSRDY (1u << 13)
#define PORT_CR3_SUPPLY_MASK 7u
#define PORT_CR3_LDOEN (1u << 1)
#define PORT_D3CR_VOSRDY (1u << 13)
#define PORT_D3CR_VOS_1 (3u << 14)

// RM0433 4.9.1: flash access control.
#define PORT_FLASH_ACR PORT_REGISTER(0x52002000u)
#define PORT_ACR_MASK 0x3fu

// RM0433 4.3, table 17: in voltage scale 1, 2 wait states and WRHIGHFREQ 2 serve an AXI of up to
// 210 MHz.
#define PORT_ACR_TO_210_MHZ (2u << 4 | 2u)

// RM0433 11.4: pins.
#define PORT_GPIO_INDEX ((BOARD_UART_GPIO_BASE - 0x58020000u) / 0x400u)  // its bit in AHB4ENR

// RM0433 8.7, RCC_PLL1DIVR, RCC_PLLCFGR: the PLL gets 2 MHz, multiplies it by N to 192..836 MHz,
// and halves that. Voltage scale 1 is for up to 400 MHz; scale 0, for 480, exists from revision V
// on only.
#if BOARD_HSE_HZ % 2000000u != 0 || BOARD_HSE_HZ < 4000000u || BOARD_HSE_HZ > 48000000u
#error "BOARD_HSE_HZ must be an even number of megahertz, 4 to 48."
#endif
#if BOARD_HSE_BYPASS > 1u
#error "BOARD_HSE_BYPASS must be 0 (a crystal) or 1 (a clock comes in)."
#endif
#if BOARD_CLOCK_HZ % 1000000u != 0 || BOARD_CLOCK_HZ < 96000000u || BOARD_CLOCK_HZ > 400000000u
#error "clock_hz must be whole megahertz, 96 to 400."
#endif
#define PORT_PLL_M (BOARD_HSE_HZ / 2000000u)
#define PORT_PLL_N (BOARD_CLOCK_HZ / 1000000u)
#define PORT_PLL_P 2u
#define PORT_UART_DIVIDER 4u  // of the core's clock: both APBs of the USARTs

#define PORT_HSI_HZ 64000000u

static uint32_t port_hz = PORT_HSI_HZ;

// Raise the core's voltage to scale 1. Until the supply has been chosen, which can be done once
// after power-on, no scale can be (RM0433 6.4.1, 6.8.4). The LDO is what this board has.
static bool port_raises_voltage(void) {
    PORT_PWR_CR3 = (PORT_PWR_CR3 & ~PORT_CR3_SUPPLY_MASK) | PORT_CR3_LDOEN;
    if (!port_waits(&PORT_PWR_CSR1, PORT_CSR1_ACTVOSRDY, PORT_CSR1_ACTVOSRDY)) {
        return false;
    }
    PORT_PWR_D3CR |= PORT_D3CR_VOS_1;
    return port_waits(&PORT_PWR_D3CR, PORT_D3CR_VOSRDY, PORT_D3CR_VOSRDY);
}

// Run from the crystal, or the clock that comes in at its pin, at BOARD_CLOCK_HZ. Returns false
// when that can't be, and leaves the chip on its internal oscillator.
static bool port_starts_pll(void) {
    if (!port_raises_voltage()) {
        return false;
    }
    PORT_RCC_CR |= BOARD_HSE_BYPASS * PORT_CR_HSEBYP;  // only while HSE is off
    PORT_RCC_CR |= PORT_CR_HSEON;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_HSERDY, PORT_CR_HSERDY)) {
        PORT_RCC_CR &= ~PORT_CR_HSEON;
        return false;
    }
    PORT_RCC_PLLCKSELR = PORT_PLL_M << 4 | PORT_PLLCKSELR_HSE;
    PORT_RCC_PLLCFGR = PORT_PLLCFGR_DIVP1EN | PORT_PLLCFGR_RANGE_2_TO_4_MHZ;
    PORT_RCC_PLL1DIVR = (PORT_PLL_P - 1u) << 9 | (PORT_PLL_N - 1u);
    PORT_RCC_CR |= PORT_CR_PLL1ON;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_PLL1RDY, PORT_CR_PLL1RDY)) {
        PORT_RCC_CR &= ~PORT_CR_PLL1ON;
        return false;
    }
    // The flash must be slow before its bus is fast; after a reset it is slower still.
    PORT_FLASH_ACR = PORT_ACR_TO_210_MHZ;
    if (!port_waits(&PORT_FLASH_ACR, PORT_ACR_MASK, PORT_ACR_TO_210_MHZ)) {
        return false;
    }
    PORT_RCC_D1CFGR = PORT_D1CFGR_HPRE_2 | PORT_D1CFGR_APB3_2;
    PORT_RCC_D2CFGR = PORT_D2CFGR_APB1_2 | PORT_D2CFGR_APB2_2;
    PORT_RCC_D3CFGR = PORT_D3CFGR_APB4_2;
    PORT_RCC_CFGR = PORT_CFGR_SW_PLL1;
    if (!port_waits(&PORT_RCC_CFGR, PORT_CFGR_SWS_MASK, PORT_CFGR_SWS_PLL1)) {
        PORT_RCC_CFGR = 0;
        PORT_RCC_D1CFGR = 0;
        PORT_RCC_D2CFGR = 0;
        PORT_RCC_D3CFGR = 0;
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
    return BOARD_CLOCK_HZ / PORT_UART_DIVIDER;
}

void port_init(void) {
    const uint32_t bus_hz = port_start_clock();
    PORT_RCC_AHB4ENR |= 1u << PORT_GPIO_INDEX;
    if (PORT_UART_APB2) {
        PORT_RCC_APB2ENR |= 1u << PORT_UART_BIT;
    } else {
        PORT_RCC_APB1LENR |= 1u << PORT_UART_BIT;
    }
    // A peripheral answers some cycles after its clock came on: read back.
    (void)PORT_RCC_AHB4ENR;
    (void)PORT_RCC_APB2ENR;
    port_start_pin(BOARD_UART_TX_PIN);
    port_start_pin(BOARD_UART_RX_PIN);
    port_start_usart(bus_hz);
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
