// STM32F405, F407, F415, F417: clock and serial port. RM0090 is ST's reference manual of the
// family.
//
// An emulator may model none of the clock, flash and pin registers: they read 0, and what is
// written to them is lost. HSIRDY tells: on the chip it is always set after a reset.

#include "port.h"

#include <stdbool.h>

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

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
#define PORT_CR_PLLON (1u << 24)
#define PORT_CR_PLLRDY (1u << 25)
#define PORT_PLLCFGR_HSE (1u << 22)
#define PORT_CFGR_SW_PLL 2u
#define PORT_CFGR_SWS_PLL (2u << 2)
#define PORT_CFGR_SWS_MASK (3u << 2)

// RM0090 3.9.1: flash access control.
#define PORT_FLASH_ACR PORT_REGISTER(0x40023c00u)
#define PORT_ACR_LATENCY_MASK 7u
#define PORT_ACR_CACHES (7u << 8)  // prefetch, instruction and data cache

// RM0090 8.4: pins.
#define PORT_GPIO_MODER PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x00u)
#define PORT_GPIO_PUPDR PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x0cu)
#define PORT_GPIO_AFR(pin) PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x20u + 4u * ((pin) / 8u))
#define PORT_GPIO_INDEX ((BOARD_UART_GPIO_BASE - 0x40020000u) / 0x400u)  // its bit in AHB1ENR

// RM0090 30.6: USART.
#define PORT_USART_SR PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_USART_DR PORT_REGISTER(BOARD_UART_BASE + 0x04u)
#define PORT_USART_BRR PORT_REGISTER(BOARD_UART_BASE + 0x08u)
#define PORT_USART_CR1 PORT_REGISTER(BOARD_UART_BASE + 0x0cu)
#define PORT_SR_ORE (1u << 3)
#define PORT_SR_RXNE (1u << 5)
#define PORT_SR_TXE (1u << 7)
#define PORT_CR1_RE (1u << 2)
#define PORT_CR1_TE (1u << 3)
#define PORT_CR1_RXNEIE (1u << 5)
#define PORT_CR1_UE (1u << 13)

// ARM DDI 0403 B3.4: the interrupt controller.
#define PORT_NVIC_ISER PORT_REGISTER(0xe000e100u + 4u * (BOARD_UART_IRQ / 32u))
#define PORT_NVIC_ICER PORT_REGISTER(0xe000e180u + 4u * (BOARD_UART_IRQ / 32u))
#define PORT_NVIC_BIT (1u << (BOARD_UART_IRQ % 32u))

// RM0090 2.3, 7.3.13, 7.3.14: which bus the USART is on, and its bit there.
#if BOARD_UART_BASE == 0x40011000u  // USART1
#define PORT_UART_APB2 1
#define PORT_UART_BIT 4u
#elif BOARD_UART_BASE == 0x40011400u  // USART6
#define PORT_UART_APB2 1
#define PORT_UART_BIT 5u
#elif BOARD_UART_BASE == 0x40004400u  // USART2
#define PORT_UART_APB2 0
#define PORT_UART_BIT 17u
#elif BOARD_UART_BASE == 0x40004800u  // USART3
#define PORT_UART_APB2 0
#define PORT_UART_BIT 18u
#else
#error "uart.base is none of USART1, 2, 3 and 6 of an STM32F4."
#endif

// RM0090 7.3.2: the PLL gets 1 MHz, multiplies it by N to 100..432 MHz, and halves that.
#if BOARD_HSE_HZ % 1000000u != 0 || BOARD_HSE_HZ < 2000000u || BOARD_HSE_HZ > 26000000u
#error "BOARD_HSE_HZ must be whole megahertz, 2 to 26."
#endif
#if BOARD_CLOCK_HZ % 1000000u != 0 || BOARD_CLOCK_HZ < 50000000u || BOARD_CLOCK_HZ > 168000000u
#error "clock_hz must be whole megahertz, 50 to 168."
#endif
#define PORT_PLL_M (BOARD_HSE_HZ / 1000000u)
#define PORT_PLL_N (2u * (BOARD_CLOCK_HZ / 1000000u))
#define PORT_PLL_Q ((PORT_PLL_N + 47u) / 48u)  // USB and SDIO, unused: at most 48 MHz

// RM0090 7.2: APB1 runs at most at 42 MHz, APB2 at 84.
#if BOARD_CLOCK_HZ > 84000000u
#define PORT_APB1_DIVIDER 4u
#define PORT_APB2_DIVIDER 2u
#define PORT_CFGR_DIVIDERS (5u << 10 | 4u << 13)
#else
#define PORT_APB1_DIVIDER 2u
#define PORT_APB2_DIVIDER 1u
#define PORT_CFGR_DIVIDERS (4u << 10)
#endif

// RM0090 3.5.1: a wait state for each 30 MHz, at 2.7 to 3.6 V.
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

// Run from the crystal at BOARD_CLOCK_HZ. Returns false when that can't be, and leaves the chip on
// its internal oscillator. The reset value of PWR_CR already allows the full speed (RM0090 5.4.1).
static bool port_starts_pll(void) {
    PORT_RCC_CR |= PORT_CR_HSEON;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_HSERDY, PORT_CR_HSERDY)) {
        PORT_RCC_CR &= ~PORT_CR_HSEON;
        return false;
    }
    PORT_RCC_PLLCFGR = PORT_PLL_Q << 24 | PORT_PLLCFGR_HSE | PORT_PLL_N << 6 | PORT_PLL_M;
    PORT_RCC_CR |= PORT_CR_PLLON;
    if (!port_waits(&PORT_RCC_CR, PORT_CR_PLLRDY, PORT_CR_PLLRDY)) {
        PORT_RCC_CR &= ~(PORT_CR_PLLON | PORT_CR_HSEON);
        return false;
    }
    // The flash must be slow before the core is fast (RM0090 3.5.1).
    PORT_FLASH_ACR = PORT_ACR_CACHES | PORT_FLASH_LATENCY;
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
    // A peripheral answers two cycles after its clock came on (RM0090 7.2): read back.
    (void)PORT_RCC_APB2ENR;
    port_start_pin(BOARD_UART_TX_PIN);
    port_start_pin(BOARD_UART_RX_PIN);
    // 16 samples a bit: BRR is the divider itself (RM0090 30.3.4).
    PORT_USART_BRR = (bus_hz + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD;
    PORT_USART_CR1 = PORT_CR1_UE | PORT_CR1_TE | PORT_CR1_RE | PORT_CR1_RXNEIE;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room: a sender that can wait, waits.
        // At the interrupt controller, as QEMU goes on asking whatever CR1 says.
        PORT_NVIC_ICER = PORT_NVIC_BIT;
        return;
    }
    // Reading SR, then DR also clears an overrun (RM0090 30.6.1).
    const uint32_t status = PORT_USART_SR;
    if ((status & (PORT_SR_RXNE | PORT_SR_ORE)) != 0) {
        const uint8_t byte = (uint8_t)PORT_USART_DR;
        if ((status & PORT_SR_RXNE) != 0) {
            queue_put(&port_received, byte);
        }
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_USART_SR & PORT_SR_TXE) != 0) {
            break;
        }
    }
    PORT_USART_DR = byte;
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
