// STM32L4x6 and L4x5: clock and serial port. RM0351 is ST's reference manual of the family.

#include "port.h"

#include <stdbool.h>

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

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
#define PORT_GPIO_MODER PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x00u)
#define PORT_GPIO_PUPDR PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x0cu)
#define PORT_GPIO_AFR(pin) PORT_REGISTER(BOARD_UART_GPIO_BASE + 0x20u + 4u * ((pin) / 8u))
#define PORT_GPIO_INDEX ((BOARD_UART_GPIO_BASE - 0x48000000u) / 0x400u)  // its bit in AHB2ENR

// RM0351 40.8: USART.
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

// RM0351 6.4: which bus the USART is on, its bit there, and its interrupt.
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
#error "uart.base is none of USART1, 2 and 3 of an STM32L4."
#endif
#if BOARD_UART_IRQ != PORT_UART_IRQ
#error "BOARD_UART_IRQ is not the interrupt of the USART at uart.base."
#endif

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

// Turns of a waiting loop: some 200 ms for an oscillator, which takes microseconds; some 100 ms
// for a byte.
#define PORT_PATIENCE 100000u
#define PORT_SEND_PATIENCE (BOARD_CLOCK_HZ / 10u)

static uint32_t port_hz = PORT_MSI_HZ;
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

static void port_start_pin(uint32_t pin) {
    const uint32_t nibble = 4u * (pin % 8u);
    PORT_GPIO_AFR(pin) = (PORT_GPIO_AFR(pin) & ~(15u << nibble)) | BOARD_UART_AF << nibble;
    PORT_GPIO_PUPDR =
        (PORT_GPIO_PUPDR & ~(3u << 2u * pin)) | 1u << 2u * pin;  // an idle line is high
    PORT_GPIO_MODER = (PORT_GPIO_MODER & ~(3u << 2u * pin)) | 2u << 2u * pin;
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
