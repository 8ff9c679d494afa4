// STM32F765, F767, F777, F769, F779: clock and serial port. RM0410 is ST's reference manual of the
// family.
//
// Code runs from the flash's AXI address, through the core's caches, which start-up turns on. The
// flash's own accelerator serves another address only (RM0410 3.3.2).

#include "port.h"

#include <stdbool.h>

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

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
#define PORT_GPIO_MODER PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x00u)
#define PORT_GPIO_PUPDR PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x0cu)
#define PORT_GPIO_AFR(pin) PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x20u + 4u * ((pin) / 8u))
#define PORT_GPIO_INDEX ((BOARD_UART_GPIO_BASE - 0x40020000u) / 0x400u)  // its bit in AHB1ENR

// RM0410 34.8: USART.
#define PORT_USART_CR1 PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_USART_BRR PORT_REGISTER(BOARD_UART_BASE + 0x0cu)
#define PORT_USART_ISR PORT_REGISTER(BOARD_UART_BASE + 0x1cu)
#define PORT_USART_ICR PORT_REGISTER(BOARD_UART_BASE + 0x20u)
#define PORT_USART_RDR PORT_REGISTER(BOARD_UART_BASE + 0x24u)
#define PORT_USART_TDR PORT_REGISTER(BOARD_UART_BASE + 0x28u)
#define PORT_CR1_UE (1u << 0)
#define PORT_CR1_RE (1u << 2)
#define PORT_CR1_TE (1u << 3)
#define PORT_CR1_RXNEIE (1u << 5)
#define PORT_ISR_ORE (1u << 3)
#define PORT_ISR_RXNE (1u << 5)
#define PORT_ISR_TXE (1u << 7)
#define PORT_ICR_ORECF (1u << 3)

// ARM DDI 0403 B3.4: the interrupt controller.
#define PORT_NVIC_ISER PORT_REGISTER(0xe000e100u + 4u * (BOARD_UART_IRQ / 32u))
#define PORT_NVIC_ICER PORT_REGISTER(0xe000e180u + 4u * (BOARD_UART_IRQ / 32u))
#define PORT_NVIC_BIT (1u << (BOARD_UART_IRQ % 32u))

// RM0410 5.3: which bus the USART is on, its bit there, and its interrupt.
#if BOARD_UART_BASE == 0x40011000u  // USART1
#define PORT_UART_APB2 1
#define PORT_UART_BIT 4u
#define PORT_UART_IRQ 37u
#elif BOARD_UART_BASE == 0x40004400u  // USART2
#define PORT_UART_APB2 0
#define PORT_UART_BIT 17u
#define PORT_UART_IRQ 38u
#elif BOARD_UART_BASE == 0x40004800u  // USART3
#define PORT_UART_APB2 0
#define PORT_UART_BIT 18u
#define PORT_UART_IRQ 39u
#elif BOARD_UART_BASE == 0x40011400u  // USART6
#define PORT_UART_APB2 1
#define PORT_UART_BIT 5u
#define PORT_UART_IRQ 71u
#else
#error "uart.base is none of USART1, 2, 3 and 6 of an STM32F7."
#endif
#if BOARD_UART_IRQ != PORT_UART_IRQ
#error "BOARD_UART_IRQ is not the interrupt of the USART at uart.base."
#endif

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

// Turns of a waiting loop: some 30 ms for a crystal, which takes 2; some 100 ms for a byte.
#define PORT_PATIENCE 100000u
#define PORT_SEND_PATIENCE (BOARD_CLOCK_HZ / 10u)

static uint32_t port_hz = PORT_HSI_HZ;
static queue_t port_received;

// Wait until (*address & mask) == value. Returns false when it never is.
static bool port_waits(volatile uint32_t *address, uint32_t mask, uint32_t value) {
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if ((*address & mask) == value) {
            return true;
        }
    }
    return false;
}

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

static void port_start_pin(uint32_t pin) {
    const uint32_t nibble = 4u * (pin % 8u);
    PORT_GPIO_AFR(pin) = (PORT_GPIO_AFR(pin) & ~(15u << nibble)) | BOARD_UART_AF << nibble;
    PORT_GPIO_PUPDR =
        (PORT_GPIO_PUPDR & ~(3u << 2u * pin)) | 1u << 2u * pin;  // an idle line is high
    PORT_GPIO_MODER = (PORT_GPIO_MODER & ~(3u << 2u * pin)) | 2u << 2u * pin;
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
    // 16 samples a bit: BRR is the divider itself.
    PORT_USART_BRR = (bus_hz + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD;
    PORT_USART_CR1 = PORT_CR1_UE | PORT_CR1_TE | PORT_CR1_RE | PORT_CR1_RXNEIE;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room: a sender that can wait, waits. The
        // USART goes on asking, so it is not listened to until then.
        PORT_NVIC_ICER = PORT_NVIC_BIT;
        return;
    }
    const uint32_t status = PORT_USART_ISR;
    if ((status & PORT_ISR_ORE) != 0) {
        PORT_USART_ICR = PORT_ICR_ORECF;  // nothing else clears it, and it interrupts, too
    }
    if ((status & PORT_ISR_RXNE) != 0) {
        queue_put(&port_received, (uint8_t)PORT_USART_RDR);
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_USART_ISR & PORT_ISR_TXE) != 0) {
            break;
        }
    }
    PORT_USART_TDR = byte;
}

int port_get(void) {
    // Held off, an interrupt still ends the sleep: a byte that comes just now isn't slept through.
    __asm__ volatile("cpsid i" ::: "memory");
    if (queue_is_empty(&port_received)) {
        __asm__ volatile("dsb\nwfi");
    }
    __asm__ volatile("cpsie i\nisb" ::: "memory");
    if (queue_is_empty(&port_received)) {
        return -1;
    }
    const uint8_t byte = queue_take(&port_received);
    PORT_NVIC_ISER = PORT_NVIC_BIT;
    return byte;
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
