#include "decimal.h"

#include "console.h"
#include "flash.h"
#include "line.h"

#define DECIMAL_DIGITS 5u

int decimal_read(char *text, int32_t *number) {
    uint32_t whole;
    uint32_t fraction = 0;
    char *end = text;
    while (*end != '\0' && *end != '.') {
        end++;
    }
    if (*end == '.') {
        *end++ = '\0';
        if (console_number(end, &fraction) != 0) {
            return -1;
        }
        for (uint8_t digit = 0; digit < DECIMAL_DIGITS; digit++) {
            if (*end == '\0') {
                fraction *= 10u;
            } else {
                end++;
            }
        }
    }
    if (*end != '\0' || console_number(text, &whole) != 0 || whole > INT16_MAX) {
        return -1;
    }
    // 2^16 / 10^5 is 2048 / 3125: the product has 28 bits.
    const uint32_t result = (whole << 16) + (fraction * 2048u + 3124u) / 3125u;
    *number = (int32_t)(result > INT32_MAX ? INT32_MAX : result);
    return 0;
}

void decimal_send(int32_t number) {
    uint32_t fraction = (uint32_t)number & 0xffffu;
    line_unsigned((uint32_t)number >> 16);
    // Zeros wait until another digit follows.
    uint8_t zeros = 0;
    const FLASH_DATA char *point = FLASH_TEXT(".");
    for (uint8_t i = 0; i < DECIMAL_DIGITS; i++) {
        fraction *= 10u;
        const uint8_t digit = (uint8_t)(fraction >> 16);
        fraction &= 0xffffu;
        if (digit == 0) {
            zeros++;
            continue;
        }
        line_text(point);
        point = FLASH_TEXT("");
        for (; zeros > 0; zeros--) {
            line_text(FLASH_TEXT("0"));
        }
        line_unsigned(digit);
    }
}
