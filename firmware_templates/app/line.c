#include "line.h"

#include "config.h"
#include "crc32.h"
#include "hex.h"
#include "port.h"

#define LINE_SEAL_CHARS 10u  // " *" and eight digits

static uint32_t line_running_crc;

line_event_t line_receive(uint8_t byte, line_reader_t *reader) {
    if (reader->ended) {
        reader->ended = false;
        reader->length = 0;
    }
    if (byte != '\n') {
        if (reader->length < BOARD_LINE_BYTES - 1u) {
            // NUL ends texts; a line with one in it is damaged, and is no better with another byte.
            reader->text[reader->length] = byte != 0 ? (char)byte : '?';
        }
        if (reader->length < UINT16_MAX) {
            reader->length++;
        }
        return LINE_PART;
    }
    reader->ended = true;
    if (reader->length > BOARD_LINE_BYTES - 1u) {
        return LINE_TOO_LONG;
    }
    if (reader->length > 0 && reader->text[reader->length - 1u] == '\r') {
        reader->length--;
    }
    reader->text[reader->length] = '\0';
    return LINE_WHOLE;
}

line_crc_t line_check(line_reader_t *reader, uint32_t *crc) {
    const uint16_t length = reader->length;
    *crc = crc32_of(reader->text, length);
    // " *" anywhere else than eight digits before the end is a seal that was damaged.
    uint16_t star = length;
    for (uint16_t i = 1; i < length; i++) {
        if (reader->text[i - 1u] == ' ' && reader->text[i] == '*') {
            star = i;
        }
    }
    if (star == length) {
        return LINE_CRC_ABSENT;
    }
    if (length < LINE_SEAL_CHARS || star != length - LINE_SEAL_CHARS + 1u) {
        return LINE_CRC_WRONG;
    }
    uint32_t claimed = 0;
    for (uint16_t i = (uint16_t)(star + 1u); i < length; i++) {
        const int digit = hex_digit(reader->text[i]);
        if (digit < 0) {
            return LINE_CRC_WRONG;
        }
        claimed = claimed << 4 | (uint32_t)digit;
    }
    reader->length = (uint16_t)(length - LINE_SEAL_CHARS);
    reader->text[reader->length] = '\0';
    *crc = crc32_of(reader->text, reader->length);
    return *crc == claimed ? LINE_CRC_RIGHT : LINE_CRC_WRONG;
}

static void line_put(char character) {
    line_running_crc = crc32_update(line_running_crc, (uint8_t)character);
    port_put((uint8_t)character);
}

#if APPLICATION_SHELF
void line_char(char character) {
    line_put(character);
}
#endif

static void line_hex_byte(uint8_t byte) {
    line_put(hex_char((uint8_t)(byte >> 4)));
    line_put(hex_char(byte));
}

void line_begin(void) {
    line_running_crc = CRC32_START;
}

void line_text(const FLASH_DATA char *text) {
    while (*text != '\0') {
        line_put(*text++);
    }
}

void line_unsigned(uint32_t value) {
    char digits[10];
    uint8_t count = 0;
    do {
        digits[count++] = (char)('0' + (char)(value % 10u));
        value /= 10u;
    } while (value != 0);
    while (count > 0) {
        line_put(digits[--count]);
    }
}

void line_signed(int32_t value) {
    if (value < 0) {
        line_put('-');
    }
    line_unsigned(value < 0 ? 0u - (uint32_t)value : (uint32_t)value);
}

void line_hex32(uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) {
        line_hex_byte((uint8_t)(value >> shift));
    }
}

void line_hex_bytes(const int8_t *bytes, uint16_t count) {
    for (uint16_t i = 0; i < count; i++) {
        line_hex_byte((uint8_t)bytes[i]);
    }
}

void line_hex_words(const int16_t *words, uint16_t count) {
    for (uint16_t i = 0; i < count; i++) {
        line_hex_byte((uint8_t)((uint16_t)words[i] & 0xffu));
        line_hex_byte((uint8_t)((uint16_t)words[i] >> 8));
    }
}

void line_end(void) {
    const uint32_t crc = crc32_value(line_running_crc);
    line_text(FLASH_TEXT(" *"));
    line_hex32(crc);
    port_put('\n');
}

void line_end_log(void) {
    port_put('\n');
}
