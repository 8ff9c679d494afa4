// ESP32-C3: clock and serial port. TRM is Espressif's ESP32-C3 Technical Reference Manual.
//
// The image begins with the mark of a direct boot: the chip's ROM, from revision v0.3 on, maps the
// first 4 MB of flash to 0x42000000 for instructions and to 0x3c000000 for data, sets up the
// cache, and jumps past the mark (https://github.com/espressif/esp32c3-direct-boot-example). No
// boot loader, and no function of the ROM, runs after that.

#include "port.h"

#include <stdbool.h>

#include "board.h"
#include "queue.h"

#define PORT_REGISTER(address) (*(volatile uint32_t *)(address))

// TRM chapter 6, "Reset and Clock", and 16, "System Registers".
#define PORT_SYSTEM_CPU_PER_CONF PORT_REGISTER(0x600c0008u)
#define PORT_SYSTEM_PERIP_CLK_EN0 PORT_REGISTER(0x600c0010u)
#define PORT_SYSTEM_PERIP_RST_EN0 PORT_REGISTER(0x600c0018u)
#define PORT_SYSTEM_SYSCLK_CONF PORT_REGISTER(0x600c0058u)
#define PORT_CPUPERIOD_MASK 3u       // 0: 80 MHz, 1: 160 MHz
#define PORT_PLL_FREQ_480 (1u << 2)  // else 320 MHz
#define PORT_SOC_CLK_MASK (3u << 10)
#define PORT_SOC_CLK_PLL (1u << 10)  // 0: the crystal
#define PORT_PRE_DIV_MASK 0x3ffu     // of the crystal, less 1
#define PORT_UART0_BIT (1u << 2)
#define PORT_UART_MEM_BIT (1u << 24)
#define PORT_SYSTIMER_BIT (1u << 29)

// TRM chapter 9, "Low-power Management", and 12, "Watchdog Timers".
#define PORT_RTC_OPTIONS0 PORT_REGISTER(0x60008000u)
#define PORT_RTC_WDTCONFIG0 PORT_REGISTER(0x60008090u)
#define PORT_RTC_WDTWPROTECT PORT_REGISTER(0x600080a8u)
#define PORT_RTC_SWD_CONF PORT_REGISTER(0x600080acu)
#define PORT_RTC_SWD_WPROTECT PORT_REGISTER(0x600080b0u)
#define PORT_TIMG0_WDTCONFIG0 PORT_REGISTER(0x6001f048u)
#define PORT_TIMG0_WDTWPROTECT PORT_REGISTER(0x6001f064u)
#define PORT_SW_SYS_RST (1u << 31)
#define PORT_PLL_POWER_DOWN (1u << 10 | 1u << 8 | 1u << 6)
#define PORT_SWD_AUTO_FEED (1u << 31)
#define PORT_WDT_CONF_UPDATE (1u << 22)
#define PORT_WDT_KEY 0x50d83aa1u
#define PORT_SWD_KEY 0x8f1d312au

// TRM chapter 10, "System Timer": 16 MHz from the crystal, whatever the core runs at.
#define PORT_SYSTIMER_UNIT0_OP PORT_REGISTER(0x60023004u)
#define PORT_SYSTIMER_UNIT0_LOW PORT_REGISTER(0x60023044u)
#define PORT_SYSTIMER_UPDATE (1u << 30)
#define PORT_SYSTIMER_VALID (1u << 29)
#define PORT_SYSTIMER_HZ 16000000u

// TRM chapter 8, "Interrupt Matrix": any of the core's 31 interrupts can be the UART's.
#define PORT_INTERRUPT 1u
#define PORT_UART_INTR_MAP PORT_REGISTER(0x600c2054u)
#define PORT_INT_ENABLE PORT_REGISTER(0x600c2104u)
#define PORT_INT_TYPE PORT_REGISTER(0x600c2108u)
#define PORT_INT_PRIORITY PORT_REGISTER(0x600c2114u + 4u * PORT_INTERRUPT)
#define PORT_INT_THRESHOLD PORT_REGISTER(0x600c2194u)

// TRM chapter 5, "IO MUX and GPIO Matrix".
#define PORT_IO_MUX(pin) PORT_REGISTER(0x60009004u + 4u * (pin))
#define PORT_IO_MUX_PULL_UP (1u << 8)
#define PORT_IO_MUX_INPUT (1u << 9)
#define PORT_IO_MUX_20_MA (2u << 10)  // the strength after a reset; function 0 is UART0

// TRM chapter 26, "UART Controller".
#define PORT_UART_FIFO PORT_REGISTER(BOARD_UART_BASE + 0x00u)
#define PORT_UART_INT_ENA PORT_REGISTER(BOARD_UART_BASE + 0x0cu)
#define PORT_UART_INT_CLR PORT_REGISTER(BOARD_UART_BASE + 0x10u)
#define PORT_UART_CLKDIV PORT_REGISTER(BOARD_UART_BASE + 0x14u)
#define PORT_UART_STATUS PORT_REGISTER(BOARD_UART_BASE + 0x1cu)
#define PORT_UART_CONF0 PORT_REGISTER(BOARD_UART_BASE + 0x20u)
#define PORT_UART_CONF1 PORT_REGISTER(BOARD_UART_BASE + 0x24u)
#define PORT_UART_FSM PORT_REGISTER(BOARD_UART_BASE + 0x6cu)
#define PORT_UART_CLK_CONF PORT_REGISTER(BOARD_UART_BASE + 0x78u)
#define PORT_UART_ID PORT_REGISTER(BOARD_UART_BASE + 0x80u)
#define PORT_UART_INTERRUPTS (1u << 8 | 1u << 0)  // the line went idle; bytes have come
#define PORT_UART_RXFIFO(status) ((status)&0x3ffu)
#define PORT_UART_TXFIFO(status) (((status) >> 16) & 0x3ffu)
#define PORT_UART_8N1 (1u << 28 | 1u << 4 | 3u << 2)
#define PORT_UART_RX_WATCH (1u << 21 | 1u << 0)  // the idle line; one byte is already enough
#define PORT_UART_SENDS (15u << 4)
#define PORT_UART_FROM_CRYSTAL (1u << 25 | 1u << 24 | 1u << 22 | 3u << 20)
#define PORT_UART_RST_CORE (1u << 23)
#define PORT_UART_UPDATE (1u << 31)
#define PORT_UART_AUTO_UPDATE (1u << 30)
#define PORT_UART_FIFO_BYTES 128u

#if BOARD_UART_BASE != 0x60000000u
#error "uart.base is not UART0 of an ESP32-C3."
#endif
#if BOARD_XTAL_HZ != 40000000u
#error "BOARD_XTAL_HZ must be 40 MHz: an ESP32-C3 takes no other crystal."
#endif
#if BOARD_CLOCK_HZ != 160000000u && BOARD_CLOCK_HZ != 80000000u
#error "clock_hz must be 80 or 160 MHz."
#endif
#define PORT_CPUPERIOD (BOARD_CLOCK_HZ / 80000000u - 1u)

// TRM 26: the divider has 12 bits, and 4 behind the point.
#define PORT_UART_DIVIDER ((16u * BOARD_XTAL_HZ + BOARD_UART_BAUD / 2u) / BOARD_UART_BAUD)
#if PORT_UART_DIVIDER >= 65536u
#error "uart.baud must be at least 9,768: UART0's divider has 12 bits."
#endif

// Turns of a waiting loop: far longer than a register takes to be taken over; some 100 ms for a
// byte, or for all that the UART holds.
#define PORT_PATIENCE 100000u
#define PORT_SEND_PATIENCE (BOARD_CLOCK_HZ / 10u)

static uint32_t port_hz = BOARD_XTAL_HZ;
static queue_t port_received;
static uint32_t port_first_tick;

// Read by the ROM. The first instruction follows.
__attribute__((section(".boot"), used)) static const uint32_t port_direct_boot[2] = {0xaedb041du,
                                                                                     0xaedb041du};

// The core has no mcycle but a counter of its own (TRM 1.4): mpcer selects cycles, mpcmr starts
// it, mpccr is the count.
static void port_start_cycles(void) {
    __asm__ volatile("csrwi 0x7e0, 1\n"
                     "csrwi 0x7e1, 1\n");
}

static uint32_t port_cycles(void) {
    uint32_t count;
    __asm__ volatile("csrr %0, 0x7e2" : "=r"(count));
    return count;
}

// All three have been started by the ROM, and would end what takes longer than it (TRM 12.2, 12.3).
static void port_stop_watchdogs(void) {
    PORT_RTC_WDTWPROTECT = PORT_WDT_KEY;
    PORT_RTC_WDTCONFIG0 = 0;
    PORT_RTC_WDTWPROTECT = 0;
    PORT_RTC_SWD_WPROTECT = PORT_SWD_KEY;
    PORT_RTC_SWD_CONF |= PORT_SWD_AUTO_FEED;
    PORT_RTC_SWD_WPROTECT = 0;
    PORT_TIMG0_WDTWPROTECT = PORT_WDT_KEY;
    PORT_TIMG0_WDTCONFIG0 = PORT_WDT_CONF_UPDATE;
    PORT_TIMG0_WDTWPROTECT = 0;
}

static bool port_waits(volatile uint32_t *address, uint32_t mask, uint32_t value) {
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if ((*address & mask) == value) {
            return true;
        }
    }
    return false;
}

static uint32_t port_systimer(void) {
    PORT_SYSTIMER_UNIT0_OP = PORT_SYSTIMER_UPDATE;
    (void)port_waits(&PORT_SYSTIMER_UNIT0_OP, PORT_SYSTIMER_VALID, PORT_SYSTIMER_VALID);
    return PORT_SYSTIMER_UNIT0_LOW;
}

// Count the core's cycles for 100 us. Returns false when they are not those of BOARD_CLOCK_HZ to
// 2%: the PLL is set up by the ROM, through registers that the manual does not describe.
static bool port_runs_at_full_speed(void) {
    const uint32_t expected = BOARD_CLOCK_HZ / 10000u;
    const uint32_t start = port_systimer();
    const uint32_t first = port_cycles();
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        if (port_systimer() - start >= PORT_SYSTIMER_HZ / 10000u) {
            break;
        }
    }
    const uint32_t counted = port_cycles() - first;
    return counted > expected - expected / 50u && counted < expected + expected / 50u;
}

// Run from the PLL at BOARD_CLOCK_HZ; where it doesn't give that, from the crystal.
static void port_start_clock(void) {
    PORT_SYSTEM_PERIP_CLK_EN0 |= PORT_SYSTIMER_BIT;
    PORT_RTC_OPTIONS0 &= ~PORT_PLL_POWER_DOWN;
    PORT_SYSTEM_CPU_PER_CONF =
        (PORT_SYSTEM_CPU_PER_CONF & ~PORT_CPUPERIOD_MASK) | PORT_PLL_FREQ_480 | PORT_CPUPERIOD;
    const uint32_t crystal = PORT_SYSTEM_SYSCLK_CONF & ~(PORT_SOC_CLK_MASK | PORT_PRE_DIV_MASK);
    PORT_SYSTEM_SYSCLK_CONF = crystal | PORT_SOC_CLK_PLL;
    if (port_runs_at_full_speed()) {
        port_hz = BOARD_CLOCK_HZ;
    } else {
        PORT_SYSTEM_SYSCLK_CONF = crystal;
    }
}

// TRM 26.5, "Programming Procedures".
static void port_start_uart(void) {
    PORT_SYSTEM_PERIP_CLK_EN0 |= PORT_UART_MEM_BIT | PORT_UART0_BIT;
    PORT_SYSTEM_PERIP_RST_EN0 &= ~(PORT_UART_MEM_BIT | PORT_UART0_BIT);
    PORT_UART_CLK_CONF |= PORT_UART_RST_CORE;
    PORT_SYSTEM_PERIP_RST_EN0 |= PORT_UART0_BIT;
    PORT_SYSTEM_PERIP_RST_EN0 &= ~PORT_UART0_BIT;
    PORT_UART_CLK_CONF &= ~PORT_UART_RST_CORE;
    PORT_UART_ID &= ~PORT_UART_AUTO_UPDATE;
    (void)port_waits(&PORT_UART_ID, PORT_UART_UPDATE, 0);
    PORT_UART_CLK_CONF = PORT_UART_FROM_CRYSTAL;
    PORT_UART_CLKDIV = (PORT_UART_DIVIDER & 15u) << 20 | PORT_UART_DIVIDER >> 4;
    PORT_UART_CONF0 = PORT_UART_8N1;
    PORT_UART_CONF1 = PORT_UART_RX_WATCH;
    PORT_UART_ID |= PORT_UART_UPDATE;
    (void)port_waits(&PORT_UART_ID, PORT_UART_UPDATE, 0);
    PORT_UART_INT_CLR = PORT_UART_INTERRUPTS;
    PORT_UART_INT_ENA = PORT_UART_INTERRUPTS;
}

void port_init(void) {
    port_stop_watchdogs();
    port_start_cycles();
    port_start_clock();
    PORT_IO_MUX(BOARD_UART_TX_PIN) = PORT_IO_MUX_20_MA;
    PORT_IO_MUX(BOARD_UART_RX_PIN) = PORT_IO_MUX_20_MA | PORT_IO_MUX_INPUT | PORT_IO_MUX_PULL_UP;
    port_start_uart();
    PORT_UART_INTR_MAP = PORT_INTERRUPT;
    PORT_INT_TYPE &= ~(1u << PORT_INTERRUPT);  // by level
    PORT_INT_PRIORITY = 1u;
    PORT_INT_THRESHOLD = 1u;
    PORT_INT_ENABLE = 1u << PORT_INTERRUPT;
    __asm__ volatile("csrsi mstatus, 8");  // MIE
}

void port_interrupt(void) {
    while (!queue_is_full(&port_received) && PORT_UART_RXFIFO(PORT_UART_STATUS) > 0) {
        queue_put(&port_received, (uint8_t)PORT_UART_FIFO);
    }
    if (queue_is_full(&port_received)) {
        // Leave what is still to come where it is until port_get made room.
        PORT_UART_INT_ENA = 0;
    }
    PORT_UART_INT_CLR = PORT_UART_INTERRUPTS;
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if (PORT_UART_TXFIFO(PORT_UART_STATUS) < PORT_UART_FIFO_BYTES) {
            break;
        }
    }
    PORT_UART_FIFO = byte;
}

int port_get(void) {
    // Held off, an interrupt still ends the sleep: a byte that comes just now isn't slept through.
    __asm__ volatile("csrci mstatus, 8" ::: "memory");
    if (queue_is_empty(&port_received) && PORT_UART_RXFIFO(PORT_UART_STATUS) == 0) {
        __asm__ volatile("wfi");
    }
    // What the interrupt left when the queue was full no longer asks for one.
    while (!queue_is_full(&port_received) && PORT_UART_RXFIFO(PORT_UART_STATUS) > 0) {
        queue_put(&port_received, (uint8_t)PORT_UART_FIFO);
    }
    if (!queue_is_full(&port_received)) {
        PORT_UART_INT_ENA = PORT_UART_INTERRUPTS;
    }
    __asm__ volatile("csrsi mstatus, 8" ::: "memory");
    return queue_is_empty(&port_received) ? -1 : queue_take(&port_received);
}

uint32_t port_clock_hz(void) {
    return port_hz;
}

void port_start_ticks(void) {
    port_first_tick = port_cycles();
}

uint32_t port_ticks(void) {
    return port_cycles() - port_first_tick;
}

void port_restart(void) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if (PORT_UART_TXFIFO(PORT_UART_STATUS) == 0 && (PORT_UART_FSM & PORT_UART_SENDS) == 0) {
            break;
        }
    }
    PORT_RTC_OPTIONS0 |= PORT_SW_SYS_RST;
    for (uint32_t turns = PORT_PATIENCE; turns > 0; turns--) {
        // The reset takes a few cycles to come.
        (void)PORT_RTC_OPTIONS0;
    }
}
