#include "hex.h"

#include "flash.h"

char hex_char(uint8_t nibble) {
    return FLASH_TEXT("0123456789abcdef")[nibble & 15u];
}

int hex_digit(char character) {
    if (character >= '0' && character <= '9') {
        return character - '0';
    }
    const int lower = character | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int hex_count(const char *text) {
    int digits = 0;
    while (text[digits] != '\0') {
        if (hex_digit(text[digits]) < 0) {
            return -1;
        }
        digits++;
    }
    return digits > 0 && digits % 2 == 0 ? digits / 2 : -1;
}

void hex_decode(const char *text, uint8_t *bytes, int count) {
    for (int i = 0; i < count; i++) {
        bytes[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
}
