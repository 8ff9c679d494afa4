// SAM D21: clock and serial port. Sections are of Microchip's SAM D21 data sheet DS40001882;
// errata are of DS80000760.

#include "port.h"

#include <stdbool.h>

#include "cortex_m_port.h"

#define PORT_REGISTER16(address) (*(volatile uint16_t *)(address))
#define PORT_REGISTER8(address) (*(volatile uint8_t *)(address))

// 16 PM: clocks of the buses.
#define PORT_PM_APBCMASK PORT_REGISTER(0x40000420u)

// 17 SYSCTRL: oscillators.
#define PORT_SYSCTRL_PCLKSR PORT_REGISTER(0x4000080cu)
#define PORT_SYSCTRL_XOSC32K PORT_REGISTER16(0x40000814u)
#define PORT_SYSCTRL_OSC8M PORT_REGISTER(0x40000820u)
#define PORT_SYSCTRL_DFLLCTRL PORT_REGISTER16(0x40000824u)
#define PORT_SYSCTRL_DFLLVAL PORT_REGISTER(0x40000828u)
#define PORT_SYSCTRL_DFLLMUL PORT_REGISTER(0x4000082cu)
#define PORT_PCLKSR_XOSC32KRDY (1u << 1)
#define PORT_PCLKSR_DFLLRDY (1u << 4)
#define PORT_PCLKSR_DFLLLCKF (1u << 6)
#define PORT_PCLKSR_DFLLLCKC (1u << 7)
#define PORT_XOSC32K_ENABLE (1u << 1)
#define PORT_XOSC32K_CRYSTAL 0x060cu  // 2 s to settle, 32 kHz output, a crystal; no AAMPEN: errata
#define PORT_OSC8M_PRESC_MASK (3u << 8)    // 0: undivided
#define PORT_DFLLCTRL_OPEN_LOOP 0x0002u    // ENABLE. No ONDEMAND: errata, below
#define PORT_DFLLCTRL_CLOSED_LOOP 0x0a06u  // and MODE, QLDIS, WAITLOCK

// 10.3.2: the factory's value for 48 MHz.
#define PORT_OTP_DFLL48M_COARSE ((PORT_REGISTER(0x00806024u) >> 26) & 0x3fu)

// 15 GCLK: who gets which clock. Generator 0 is the core's.
#define PORT_GCLK_STATUS PORT_REGISTER8(0x40000c01u)
#define PORT_GCLK_CLKCTRL PORT_REGISTER16(0x40000c02u)
#define PORT_GCLK_GENCTRL PORT_REGISTER(0x40000c04u)
#define PORT_GCLK_GENDIV PORT_REGISTER(0x40000c08u)
#define PORT_GCLK_SYNCBUSY 0x80u
#define PORT_CLKCTRL_CLKEN (1u << 14)
#define PORT_CLKCTRL_GEN_1 (1u << 8)
#define PORT_CLKCTRL_DFLL48M 0u
#define PORT_GENCTRL_ENABLE (1u << 16)
#define PORT_GENCTRL_XOSC32K (5u << 8)
#define PORT_GENCTRL_OSC8M (6u << 8)
#define PORT_GENCTRL_DFLL48M (7u << 8)

// 22 NVMCTRL.
#define PORT_NVMCTRL_CTRLB PORT_REGISTER(0x41004004u)
#define PORT_CTRLB_RWS_1 (1u << 1)     // 37.12: 24 MHz and more at 2.7 V and more
#define PORT_CTRLB_MANW (1u << 7)      // errata: without it, a stray store starts a write of flash
#define PORT_CTRLB_SLEEPPRM (3u << 8)  // errata: with power reduction, some do not wake up

// 23 PORT: pin PB22 is number 54.
#define PORT_PORT_GROUP(pin) (0x41004400u + 0x80u * ((pin) / 32u))
#define PORT_PORT_OUTSET(pin) PORT_REGISTER(PORT_PORT_GROUP(pin) + 0x18u)
#define PORT_PORT_PMUX(pin) PORT_REGISTER8(PORT_PORT_GROUP(pin) + 0x30u + (pin) % 32u / 2u)
#define PORT_PORT_PINCFG(pin) PORT_REGISTER8(PORT_PORT_GROUP(pin) + 0x40u + (pin) % 32u)
#define PORT_PINCFG_TX 0x01u  // PMUXEN
#define PORT_PINCFG_RX 0x07u  // and INEN, PULLEN: to what OUT says

// 26.8 SERCOM USART.
#define PORT_USART_CTRLA PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_USART_CTRLB PORT_REGISTER(BOARD_UART_BASE + 0x04u)
#define PORT_USART_BAUD PORT_REGISTER16(BOARD_UART_BASE + 0x0cu)
#define PORT_USART_INTENSET PORT_REGISTER8(BOARD_UART_BASE + 0x16u)
#define PORT_USART_INTFLAG PORT_REGISTER8(BOARD_UART_BASE + 0x18u)
#define PORT_USART_SYNCBUSY PORT_REGISTER(BOARD_UART_BASE + 0x1cu)
#define PORT_USART_DATA PORT_REGISTER16(BOARD_UART_BASE + 0x28u)
#define PORT_CTRLA_SWRST (1u << 0)
#define PORT_CTRLA_ENABLE (1u << 1)
#define PORT_CTRLA_INTERNAL_CLOCK (1u << 2)
#define PORT_CTRLA_LSB_FIRST (1u << 30)
#define PORT_CTRLB_TXEN_RXEN (3u << 16)
#define PORT_INT_DRE 0x01u
#define PORT_INT_RXC 0x04u

// 12, 11.2, 15.8.3, 16.8.10: all of a SERCOM follows from its number.
#define PORT_SERCOM ((BOARD_UART_BASE - 0x42000800u) / 0x400u)
#if BOARD_UART_BASE < 0x42000800u || BOARD_UART_BASE > 0x42001c00u || BOARD_UART_BASE % 0x400u != 0
#error "uart.base is none of SERCOM0 to 5 of a SAM D21."
#elif BOARD_UART_IRQ != PORT_SERCOM + 9u
#error "BOARD_UART_IRQ is not the interrupt of the SERCOM at uart.base."
#endif
#define PORT_SERCOM_APBC_BIT (PORT_SERCOM + 2u)
#define PORT_SERCOM_CLOCK (PORT_SERCOM + 0x14u)
#if BOARD_UART_RX_PAD > 3u || (BOARD_UART_TX_PAD != 0u && BOARD_UART_TX_PAD != 2u)
#error "BOARD_UART_TX_PAD must be 0 or 2, BOARD_UART_RX_PAD 0 to 3."
#endif

#if BOARD_CLOCK_HZ != 48000000u
#error "clock_hz must be 48000000: the DFLL makes nothing else."
#endif
#define PORT_DFLL_MULTIPLIER 1465u  // of 32768 Hz
#define PORT_OSC8M_HZ 8000000u

// Turns of a waiting loop at 8 MHz: some 4 s for the crystal, which takes 2.
#define PORT_CRYSTAL_PATIENCE 3000000u

static uint32_t port_hz = PORT_OSC8M_HZ;

// Wait until all bits of mask are set in PCLKSR. Returns false when they never are.
static bool port_settles(uint32_t mask, uint32_t patience) {
    for (uint32_t turns = patience; turns > 0; turns--) {
        if ((PORT_SYSCTRL_PCLKSR & mask) == mask) {
            return true;
        }
    }
    return false;
}

// A write to GCLK takes effect some cycles of slower clocks later (15.6.6).
static void port_sync_gclk(void) {
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if ((PORT_GCLK_STATUS & PORT_GCLK_SYNCBUSY) == 0) {
            return;
        }
    }
}

static void port_sync_usart(void) {
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if (PORT_USART_SYNCBUSY == 0) {
            return;
        }
    }
}

// Let generator 0 or 1 divide a source by 1.
static void port_start_generator(uint32_t number, uint32_t source) {
    PORT_GCLK_GENDIV = number;
    port_sync_gclk();
    PORT_GCLK_GENCTRL = PORT_GENCTRL_ENABLE | source | number;
    port_sync_gclk();
}

// Run the core on OSC8M, undivided, whatever a boot loader left it on.
static void port_start_slow(void) {
    PORT_SYSCTRL_OSC8M &= ~PORT_OSC8M_PRESC_MASK;
    port_start_generator(0, PORT_GENCTRL_OSC8M);
}

// Start the DFLL at the factory's 48 MHz, right to some 2 %. Errata "Write access to the DFLL
// registers": while ONDEMAND is set, they freeze the chip; so it is cleared before anything else.
static bool port_starts_dfll(void) {
    PORT_SYSCTRL_DFLLCTRL = PORT_DFLLCTRL_OPEN_LOOP;
    if (!port_settles(PORT_PCLKSR_DFLLRDY, PORT_PATIENCE)) {
        return false;
    }
    const uint32_t coarse = PORT_OTP_DFLL48M_COARSE;
    PORT_SYSCTRL_DFLLVAL = (coarse == 0x3fu ? 0x1fu : coarse) << 10 | 0x1ffu;
    return port_settles(PORT_PCLKSR_DFLLRDY, PORT_PATIENCE);
}

// Tie the DFLL to the crystal. Without one it goes on as it was.
static void port_lock_dfll(void) {
    PORT_SYSCTRL_XOSC32K = PORT_XOSC32K_CRYSTAL;
    PORT_SYSCTRL_XOSC32K = PORT_XOSC32K_CRYSTAL | PORT_XOSC32K_ENABLE;  // apart: 17.6.3
    if (!port_settles(PORT_PCLKSR_XOSC32KRDY, PORT_CRYSTAL_PATIENCE)) {
        PORT_SYSCTRL_XOSC32K = PORT_XOSC32K_CRYSTAL;
        return;
    }
    port_start_generator(1, PORT_GENCTRL_XOSC32K);
    PORT_GCLK_CLKCTRL = PORT_CLKCTRL_CLKEN | PORT_CLKCTRL_GEN_1 | PORT_CLKCTRL_DFLL48M;
    port_sync_gclk();
    PORT_SYSCTRL_DFLLMUL = 31u << 26 | 511u << 16 | PORT_DFLL_MULTIPLIER;  // largest steps: half
    (void)port_settles(PORT_PCLKSR_DFLLRDY, PORT_PATIENCE);
    PORT_SYSCTRL_DFLLCTRL = PORT_DFLLCTRL_CLOSED_LOOP;
    const uint32_t locked = PORT_PCLKSR_DFLLLCKC | PORT_PCLKSR_DFLLLCKF | PORT_PCLKSR_DFLLRDY;
    if (!port_settles(locked, PORT_PATIENCE)) {
        (void)port_starts_dfll();
    }
}

static void port_start_clock(void) {
    port_start_slow();
    // The flash must be slow before the core is fast.
    PORT_NVMCTRL_CTRLB = PORT_CTRLB_RWS_1 | PORT_CTRLB_MANW | PORT_CTRLB_SLEEPPRM;
    if (!port_starts_dfll()) {
        return;
    }
    port_lock_dfll();
    if (port_settles(PORT_PCLKSR_DFLLRDY, PORT_PATIENCE)) {
        port_start_generator(0, PORT_GENCTRL_DFLL48M);
        port_hz = BOARD_CLOCK_HZ;
    }
}

static void port_start_pin(uint32_t pin, uint8_t configuration) {
    const uint32_t nibble = 4u * (pin % 2u);
    PORT_PORT_PMUX(pin) =
        (uint8_t)((PORT_PORT_PMUX(pin) & ~(15u << nibble)) | BOARD_UART_MUX << nibble);
    PORT_PORT_PINCFG(pin) = configuration;
}

void port_init(void) {
    PORT_NVIC_ICER = 0xffffffffu;  // a boot loader may have left any interrupt on
    port_start_clock();
    PORT_PM_APBCMASK |= 1u << PORT_SERCOM_APBC_BIT;
    PORT_GCLK_CLKCTRL = (uint16_t)(PORT_CLKCTRL_CLKEN | PORT_SERCOM_CLOCK);  // of generator 0
    port_sync_gclk();
    PORT_PORT_OUTSET(BOARD_UART_RX_PIN) = 1u << BOARD_UART_RX_PIN % 32u;  // an idle line is high
    port_start_pin(BOARD_UART_RX_PIN, PORT_PINCFG_RX);
    PORT_USART_CTRLA = PORT_CTRLA_SWRST;
    port_sync_usart();
    const uint32_t mode = PORT_CTRLA_LSB_FIRST | (uint32_t)BOARD_UART_RX_PAD << 20 |
                          BOARD_UART_TX_PAD / 2u << 16 | PORT_CTRLA_INTERNAL_CLOCK;
    PORT_USART_CTRLA = mode;
    // 26.6.2.3, asynchronous arithmetic: 65536 (1 - 16 baud / clock).
    PORT_USART_BAUD =
        (uint16_t)(65536u - (((uint64_t)BOARD_UART_BAUD << 20) + port_hz / 2u) / port_hz);
    PORT_USART_CTRLB = PORT_CTRLB_TXEN_RXEN;
    port_sync_usart();
    PORT_USART_CTRLA = mode | PORT_CTRLA_ENABLE;
    port_sync_usart();
    port_start_pin(BOARD_UART_TX_PIN, PORT_PINCFG_TX);  // not before it idles high
    PORT_USART_INTENSET = PORT_INT_RXC;
    PORT_NVIC_ISER = PORT_NVIC_BIT;
}

void port_interrupt(void) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room: a sender that can wait, waits. The
        // USART goes on asking, so it is not listened to until then.
        PORT_NVIC_ICER = PORT_NVIC_BIT;
        return;
    }
    if ((PORT_USART_INTFLAG & PORT_INT_RXC) != 0) {
        queue_put(&port_received, (uint8_t)PORT_USART_DATA);
    }
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((PORT_USART_INTFLAG & PORT_INT_DRE) != 0) {
            break;
        }
    }
    PORT_USART_DATA = byte;
}

uint32_t port_clock_hz(void) {
    return port_hz;
}
