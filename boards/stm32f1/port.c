// STM32F100 value line (BOARD_CHIP 100) and F103 (103): clock and serial port. RM0041 is ST's
// reference manual of the first, RM0008 that of the second: registers lie where RM0041 has them,
// unless a comment says otherwise.
//
// An emulator may model none of the clock and pin registers: they read 0, and what is written to
// them is lost. HSIRDY tells: on the chip it is always set after a reset.

#include "port.h"

#include <stdbool.h>

#include "cortex_m_port.h"
#include "stm32_usart.h"
#include "stm32_usart123.h"

// RM0041 6.3: reset and clock control.
#define PORT_RCC_CR PORT_REGISTER(0x40021000u)
#define PORT_RCC_CFGR PORT_REGISTER(0x40021004u)
#define PORT_RCC_APB2ENR PORT_REGISTER(0x40021018u)
#define PORT_RCC_APB1ENR PORT_REGISTER(0x4002101cu)
#define PORT_CR_HSIRDY (1u << 1)
#define PORT_CR_HSEON (1u << 16)
#define PORT_CR_HSERDY (1u << 17)
#define PORT_CR_PLLON (1u << 24)
#define PORT_CR_PLLRDY (1u << 25)
#define PORT_CFGR_PLLSRC_HSE (1u << 16)  // the crystal, undivided after a reset
#define PORT_CFGR_SW_PLL 2u
#define PORT_CFGR_SWS_PLL (2u << 2)
#define PORT_CFGR_SWS_MASK (3u << 2)

// RM0008 3.3.3: flash access control. The F100's flash needs no wait state.
#define PORT_FLASH_ACR PORT_REGISTER(0x40022000u)
#define PORT_ACR_LATENCY_MASK 7u
#define PORT_ACR_PREFETCH (1u << 4)

// RM0041 7.2: pins. Each has a nibble of mode and configuration.
#define PORT_GPIO_CR(pin) PORT_REGISTER(BOARD_UART_GPIO_BASE + 4u * ((pin) / 8u))
#define PORT_GPIO_BSRR PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x10u)
#define PORT_GPIO_BIT ((BOARD_UART_GPIO_BASE - 0x40010000u) / 0x400u)  // in APB2ENR
#define PORT_PIN_ALTERNATE 0xbu                                        // push-pull, 50 MHz
#define PORT_PIN_PULLED 0x8u  // input, pulled to what its output bit says

// RM0041 6.3.2, RM0008 7.3.2: the PLL multiplies the crystal by 2 to 16.
#if BOARD_CHIP == 100
#if BOARD_HSE_HZ < 4000000u || BOARD_HSE_HZ > 24000000u
#error "BOARD_HSE_HZ must be 4 to 24 MHz."
#endif
#if BOARD_CLOCK_HZ % BOARD_HSE_HZ != 0 || BOARD_CLOCK_HZ / BOARD_HSE_HZ < 2u ||                    \
    BOARD_CLOCK_HZ > 24000000u
#error "clock_hz must be at most 24 MHz, and 2, 3, 4... times BOARD_HSE_HZ."
#endif
#elif BOARD_CHIP == 103
#if BOARD_HSE_HZ < 4000000u || BOARD_HSE_HZ > 16000000u
#error "BOARD_HSE_HZ must be 4 to 16 MHz."
#endif
#if BOARD_CLOCK_HZ % BOARD_HSE_HZ != 0 || BOARD_CLOCK_HZ / BOARD_HSE_HZ < 2u ||                    \
    BOARD_CLOCK_HZ / BOARD_HSE_HZ > 16u || BOARD_CLOCK_HZ < 16000000u ||                           \
    BOARD_CLOCK_HZ > 72000000u
#error "clock_hz must be 16 to 72 MHz, and 2, 3, 4... 16 times BOARD_HSE_HZ."
#endif
#else
#error "BOARD_CHIP must be 100 or 103."
#endif
#define PORT_CFGR_PLLMUL ((BOARD_CLOCK_HZ / BOARD_HSE_HZ - 2u) << 18)

// RM0008 7.2: APB1 runs at most at 36 MHz; the other buses at the core's frequency.
#if BOARD_CLOCK_HZ > 36000000u
#define PORT_APB1_DIVIDER 2u
#define PORT_CFGR_DIVIDERS (4u << 8)
#else
#define PORT_APB1_DIVIDER 1u
#define PORT_CFGR_DIVIDERS 0u
#endif

// RM0008 3.3.3: a wait state for each 24 MHz.
#define PORT_FLASH_LATENCY ((BOARD_CLOCK_HZ - 1u) / 24000000u)

#define PORT_HSI_HZ 8000000u

static uint32_t port_hz = PORT_HSI_HZ;

// Run from the crystal at BOARD_CLOCK_HZ. Returns false when that can't be, and leaves the chip on
// its internal oscillator.
static bool port_starts_pll(void) {
    PORT_RCC_CR |= PORT_CR_HSEON;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_HSERDY, PORT_CR_HSERDY)) {
        PORT_RCC_CR &= ~PORT_CR_HSEON;
        return false;
    }
    PORT_RCC_CFGR = PORT_CFGR_PLLMUL | PORT_CFGR_PLLSRC_HSE | PORT_CFGR_DIVIDERS;
    PORT_RCC_CR |= PORT_CR_PLLON;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_PLLRDY, PORT_CR_PLLRDY)) {
        PORT_RCC_CR &= ~(PORT_CR_PLLON | PORT_CR_HSEON);
        return false;
    }
    if (BOARD_CHIP == 103) {
        // The flash must be slow before the core is fast.
        PORT_FLASH_ACR = PORT_ACR_PREFETCH | PORT_FLASH_LATENCY;
        if (!port_waits(&PORT_FLASH_ACR, PORT_ACR_LATENCY_MASK, PORT_FLASH_LATENCY)) {
            PORT_RCC_CFGR = 0;
            return false;
        }
    }
    PORT_RCC_CFGR |= PORT_CFGR_SW_PLL;
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
    return BOARD_CLOCK_HZ / (PORT_UART_APB2 ? 1u : PORT_APB1_DIVIDER);
}

static void port_start_pin(uint32_t pin, uint32_t configuration) {
    const uint32_t shift = 4u * (pin % 8u);
    PORT_GPIO_CR(pin) = (PORT_GPIO_CR(pin) & ~(15u << shift)) | configuration << shift;
}

void port_init(void) {
    const uint32_t bus_hz = port_start_clock();
    PORT_RCC_APB2ENR |= 1u << PORT_GPIO_BIT;
    if (PORT_UART_APB2) {
        PORT_RCC_APB2ENR |= 1u << PORT_UART_BIT;
    } else {
        PORT_RCC_APB1ENR |= 1u << PORT_UART_BIT;
    }
    PORT_GPIO_BSRR = 1u << BOARD_UART_RX_PIN;  // pulled up: an idle line is high
    port_start_pin(BOARD_UART_RX_PIN, PORT_PIN_PULLED);
    port_start_pin(BOARD_UART_TX_PIN, PORT_PIN_ALTERNATE);
    port_start_usart(bus_hz);
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
