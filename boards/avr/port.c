// ATmega: clock and serial port. What is cited are sections of the data sheets of ATmega328P
// (DS40002061) and ATmega2560 (2549), which have these registers in the same places.
//
// The clock is what the fuses say, from the first instruction on: there is nothing to start.

#include "port.h"

#include <avr/interrupt.h>
#include <avr/io.h>

#include "board.h"
#include "queue.h"
#include "startup.h"

#if BOARD_UART_BASE != 0xc0
#error "uart.base must be 0xc0: the console speaks through USART0."
#endif

// USART, Internal Clock Generation: with U2X0 a bit is 8 times the divider.
#define PORT_DIVIDER ((BOARD_CLOCK_HZ + 4u * BOARD_UART_BAUD) / (8u * BOARD_UART_BAUD))
#define PORT_REAL_BAUD (BOARD_CLOCK_HZ / (8u * PORT_DIVIDER))
#if PORT_DIVIDER < 1u || PORT_DIVIDER > 4096u
#error "uart.baud cannot be made from clock_hz: the divider has 12 bits."
#endif
// A receiver takes 2.5% if the sender is right (ATmega328P 20.8.3); an Arduino's USB chip, which
// has the same clock and divider, is off by the same.
#if PORT_REAL_BAUD * 40u > BOARD_UART_BAUD * 41u || PORT_REAL_BAUD * 40u < BOARD_UART_BAUD * 39u
#error "uart.baud is off by more than 2.5% at this clock_hz."
#endif

// Turns of a waiting loop of at least 8 cycles: some 100 ms.
#define PORT_SEND_PATIENCE (BOARD_CLOCK_HZ / 80u)

#ifdef USART0_RX_vect
#define PORT_RECEIVED_vect USART0_RX_vect
#else
#define PORT_RECEIVED_vect USART_RX_vect  // of chips that have one USART
#endif

#define PORT_CONTROL ((1 << RXEN0) | (1 << TXEN0))

static queue_t port_received;

void port_init(void) {
    UBRR0 = (uint16_t)(PORT_DIVIDER - 1u);
    UCSR0A = 1 << U2X0;
    UCSR0C = (1 << UCSZ01) | (1 << UCSZ00);  // 8N1
    UCSR0B = PORT_CONTROL | (1 << RXCIE0);
    sei();
}

ISR(PORT_RECEIVED_vect) {
    if (queue_is_full(&port_received)) {
        // Leave the byte where it is until port_get made room.
        UCSR0B = PORT_CONTROL;
        return;
    }
    queue_put(&port_received, UDR0);
}

void port_put(uint8_t byte) {
    for (uint32_t turns = PORT_SEND_PATIENCE; turns > 0; turns--) {
        if ((UCSR0A & (1 << UDRE0)) != 0) {
            break;
        }
    }
    UDR0 = byte;
}

int port_get(void) {
    startup_check_stack();
    // The instruction after SEI runs before any interrupt: a byte that comes just now isn't slept
    // through (AVR CPU Core, Reset and Interrupt Handling).
    cli();
    if (queue_is_empty(&port_received)) {
        SMCR = 1 << SE;  // idle: the USART and the timer go on
        sei();
        __asm__ volatile("sleep" ::: "memory");
        SMCR = 0;
    }
    sei();
    if (queue_is_empty(&port_received)) {
        return -1;
    }
    const uint8_t byte = queue_take(&port_received);
    UCSR0B = PORT_CONTROL | (1 << RXCIE0);
    return byte;
}

uint32_t port_clock_hz(void) {
    return BOARD_CLOCK_HZ;
}

#ifdef BOARD_STORAGE_BYTES
#if BOARD_STORAGE_BASE != 0
#error "storage.origin must be 0: the EEPROM has addresses of its own."
#endif

// Turns of a waiting loop of at least 8 cycles: some 10 ms for a byte that takes 3.4 (ATmega328P
// 8.4, table 8-1).
#define PORT_EEPROM_PATIENCE (BOARD_CLOCK_HZ / 800u)

static uint8_t port_eeprom_read(uint16_t at) {
    for (uint32_t turns = PORT_EEPROM_PATIENCE; turns > 0 && (EECR & (1 << EEPE)) != 0; turns--) {
    }
    EEAR = at;
    EECR |= 1 << EERE;
    return EEDR;
}

void port_storage_read(uint16_t at, uint8_t *bytes, uint16_t count) {
    while (count-- > 0) {
        *bytes++ = port_eeprom_read(at++);
    }
}

void port_storage_write(uint16_t at, const uint8_t *bytes, uint16_t count) {
    for (; count > 0; count--) {
        // What is there already costs neither time nor life.
        if (port_eeprom_read(at) != *bytes) {
            EEDR = *bytes;
            // EEPE must follow EEMPE within four cycles (8.6.3).
            cli();
            EECR |= 1 << EEMPE;
            EECR |= 1 << EEPE;
            sei();
        }
        at++;
        bytes++;
    }
}
#endif
