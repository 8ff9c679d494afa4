// STM32F100 value line (BOARD_CHIP 100) and F103 (103): clock and serial port. RM0041 is ST's
// reference manual of the first, RM0008 that of the second: registers lie where RM0041 has them,
// unless a comment says otherwise.
//
// An emulator may model none of the clock and pin registers: they read 0, and what is written to
// them is lost. HSIRDY tells: on the chip it is always set after a reset.

#include "port.h"

#include <stdbool.h>

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

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

// RM0041 23.6: USART.
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

// RM0041 2.3, 6.3.7, 6.3.8: which bus the USART is on, its bit there, and its interrupt.
#if BOARD_UART_BASE == 0x40013800u  // USART1
#define PORT_UART_APB2 1
#define PORT_UART_BIT 14u
#define PORT_UART_IRQ 37u
#elif BOARD_UART_BASE == 0x40004400u  // USART2
#define PORT_UART_APB2 0
#define PORT_UART_BIT 17u
#define PORT_UART_IRQ 38u
#elif BOARD_UART_BASE == 0x40004800u  // USART3
#define PORT_UART_APB2 0
#define PORT_UART_BIT 18u
#define PORT_UART_IRQ 39u
#else
#error "uart.base is none of USART1, 2 and 3 of an STM32F1."
#endif
#if BOARD_UART_IRQ != PORT_UART_IRQ
#error "BOARD_UART_IRQ is not the interrupt of the USART at uart.base."
#endif

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

// Turns of a waiting loop: some 60 ms for a crystal, which takes 2; some 100 ms for a byte.
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
    // 16 samples a bit: BRR is the divider itself (RM0041 23.3.4).
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
    // Reading SR, then DR also clears an overrun (RM0041 23.6.1).
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
