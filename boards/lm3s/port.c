// Stellaris LM3S6965: clock and serial port. Its data sheet is Texas Instruments' DS-LM3S6965.

#include "port.h"

#include "cortex_m_port.h"
#include "pl011.h"

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

static uint32_t port_hz = PORT_IOSC_HZ;

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
    if (!port_waits(&PORT_SYSCTL_RIS, PORT_RIS_PLLLRIS, PORT_RIS_PLLLRIS)) {
        PORT_SYSCTL_RCC = at_reset;
        return;
    }
    PORT_SYSCTL_RCC = rcc & ~PORT_RCC_BYPASS;
    port_hz = BOARD_CLOCK_HZ;
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
    PORT_UART_CR = 0;
    PORT_UART_IFLS = 0;  // interrupts from 2 bytes on
    port_start_uart(port_hz);
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
