// Stellaris LM3S6965: clock and serial port. Its data sheet is Texas Instruments' DS-LM3S6965.

#include "port.h"

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

// Data sheet 5: system control.
#define PORT_SYSCTL_RIS PORT_REGISTER(0x400fe050u)
#define PORT_SYSCTL_RCC PORT_REGISTER(0x400fe060u)
#define PORT_SYSCTL_RCGC1 PORT_REGISTER(0x400fe104u)
#define PORT_SYSCTL_RCGC2 PORT_REGISTER(0x400fe108u)
#define PORT_RIS_PLLLRIS (1u << 6)
#define PORT_RCC_MOSCDIS (1u << 0)
#define PORT_RCC_OSCSRC_MASK (3u << 4)  // 0: the crystal
#define PORT_RCC_XTAL_MASK (15u << 6)
#define PORT_RCC_BYPASS (1u << 11)
#define PORT_RCC_PWRDN (1u << 13)
#define PORT_RCC_USESYSDIV (1u << 22)
#define PORT_RCC_SYSDIV_MASK (15u << 23)

// Data sheet 8: pins. PA0 and PA1 are UART0's, and nobody else's.
#define PORT_GPIOA_AFSEL PORT_REGISTER(0x40004420u)
#define PORT_GPIOA_PUR PORT_REGISTER(0x40004510u)
#define PORT_GPIOA_DEN PORT_REGISTER(0x4000451cu)
#define PORT_GPIOA_RX (1u << 0)
#define PORT_GPIOA_TX (1u << 1)

// Data sheet 12: UART.
#define PORT_UART_DR PORT_REGISTER(BOARD_UART_BASE + 0x000u)
#define PORT_UART_FR PORT_REGISTER(BOARD_UART_BASE + 0x018u)
#define PORT_UART_IBRD PORT_REGISTER(BOARD_UART_BASE + 0x024u)
#define PORT_UART_FBRD PORT_REGISTER(BOARD_UART_BASE + 0x028u)
#define PORT_UART_LCRH PORT_REGISTER(BOARD_UART_BASE + 0x02cu)
#define PORT_UART_CTL PORT_REGISTER(BOARD_UART_BASE + 0x030u)
#define PORT_UART_IFLS PORT_REGISTER(BOARD_UART_BASE + 0x034u)
#define PORT_UART_IM PORT_REGISTER(BOARD_UART_BASE + 0x038u)
#define PORT_FR_RXFE (1u << 4)
#define PORT_FR_TXFF (1u << 5)
#define PORT_LCRH_FEN (1u << 4)
#define PORT_LCRH_8BIT (3u << 5)
#define PORT_CTL_UARTEN (1u << 0)
#define PORT_CTL_TXE (1u << 8)
#define PORT_CTL_RXE (1u << 9)
#define PORT_IM_RX (1u << 4)
#define PORT_IM_RT (1u << 6)  // fewer bytes than RX waits for, and then none for 32 bits' time

// ARM DDI 0403 B3.4: the interrupt controller.
#define PORT_NVIC_ISER PORT_REGISTER(0xe000e100u)
#define PORT_NVIC_ICER PORT_REGISTER(0xe000e180u)
#define PORT_NVIC_BIT (1u << BOARD_UART_IRQ)

#if BOARD_UART_BASE != 0x4000c000u
#error "uart.base must be 0x4000c000: UART0."
#endif

// Data sheet 5, RCC: what XTAL says of the crystal.
#if BOARD_XTAL_HZ == 6000000u
#define PORT_RCC_XTAL (0xbu << 6)
#elif BOARD_XTAL_HZ == 8000000u
#define PORT_RCC_XTAL (0xeu << 6)
#else
#error "BOARD_XTAL_HZ must be 6000000 or 8000000."
#endif

// Data sheet 5, RCC: the PLL makes 200 MHz of it, and SYSDIV + 1 divides that by 4 to 16.
#define PORT_PLL_HZ 200000000u
#if BOARD_CLOCK_HZ > 50000000u || BOARD_CLOCK_HZ < 12500000u || PORT_PLL_HZ % BOARD_CLOCK_HZ != 0
#error "clock_hz must be 200000000 divided by 4, 5, 8, 10 or 16."
#endif
#define PORT_RCC_SYSDIV ((PORT_PLL_HZ / BOARD_CLOCK_HZ - 1u) << 23)

#define PORT_IOSC_HZ 12000000u  // the internal oscillator, right to 30%

// Turns of a waiting loop: some 30 ms for the PLL, which takes half of one; 100 ms for a byte.
#define PORT_PATIENCE 100000u
#define PORT_SEND_PATIENCE (BOARD_CLOCK_HZ / 10u)

static uint32_t port_hz = PORT_IOSC_HZ;
static queue_t port_received;

// Run from the crystal at BOARD_CLOCK_HZ, in the order of data sheet 5.3. Without a crystal the
// PLL never locks, and the board stays on its internal oscillator.
static void port_start_clock(void) {
    const uint32_t at_reset = PORT_SYSCTL_RCC;
    uint32_t rcc = (at_reset | PORT_RCC_BYPASS) & ~PORT_RCC_USESYSDIV;
    PORT_SYSCTL_RCC = rcc;
    rcc &= ~(PORT_RCC_MOSCDIS | PORT_RCC_OSCSRC_MASK | PORT_RCC_XTAL_MASK | PORT_RCC_PWRDN |
             PORT_RCC_SYSDIV_MASK);
    rcc |= PORT_RCC_XTAL | PORT_RCC_SYSDIV | PORT_RCC_USESYSDIV;
    PORT_SYSCTL_RCC = rcc;
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if ((PORT_SYSCTL_RIS & PORT_RIS_PLLLRIS) != 0) {
            PORT_SYSCTL_RCC = rcc & ~PORT_RCC_BYPASS;
            port_hz = BOARD_CLOCK_HZ;
            return;
        }
    }
    PORT_SYSCTL_RCC = at_reset;
}

void port_init(void) {
    port_start_clock();
    PORT_SYSCTL_RCGC1 |= 1u << 0;  // UART0
    PORT_SYSCTL_RCGC2 |= 1u << 0;  // port A
    // A peripheral answers three cycles after its clock came on (data sheet 5): read back.
    (void)PORT_SYSCTL_RCGC1;
    (void)PORT_SYSCTL_RCGC2;
    PORT_GPIOA_PUR |= PORT_GPIOA_RX;  // an idle line is high
    PORT_GPIOA_AFSEL |= PORT_GPIOA_RX | PORT_GPIOA_TX;
    PORT_GPIOA_DEN |= PORT_GPIOA_RX | PORT_GPIOA_TX;
    // 16 samples a bit, in 64ths (data sheet 12). LCRH takes the divider over: it comes last.
    const uint32_t divider = (4u * port_hz + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD;
    PORT_UART_CTL = 0;
    PORT_UART_IBRD = divider / 64u;
    PORT_UART_FBRD = divider % 64u;
    PORT_UART_LCRH = PORT_LCRH_FEN | PORT_LCRH_8BIT;
    PORT_UART_IFLS = 0;  // from 2 bytes on
    PORT_UART_IM = PORT_IM_RX | PORT_IM_RT;
    PORT_UART_CTL = PORT_CTL_UARTEN | PORT_CTL_TXE | PORT_CTL_RXE;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    // Both interrupts end when the UART's own queue is empty (data sheet 12).
    while ((PORT_UART_FR & PORT_FR_RXFE) == 0) {
        if (queue_is_full(&port_received)) {
            // Leave the rest where it is until port_get made room: a sender that can wait, waits.
            PORT_NVIC_ICER = PORT_NVIC_BIT;
            return;
        }
        queue_put(&port_received, (uint8_t)PORT_UART_DR);
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_UART_FR & PORT_FR_TXFF) == 0) {
            break;
        }
    }
    PORT_UART_DR = byte;
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
