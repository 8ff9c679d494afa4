// Bytes as hexadecimal text: written in lower case, read in either.

#ifndef SHELFCAST_HEX_H
#define SHELFCAST_HEX_H

#include <stdint.h>

// The character of the low four bits of `nibble`.
char hex_char(uint8_t nibble);

// The value 0..15 of a character, or -1.
int hex_digit(char character);

// Count the bytes that a text of hexadecimal digits, ended by NUL, stands for. Returns -1 when it
// is empty, has an odd number of digits, or has any other character in it.
int hex_count(const char *text);

// Write the bytes of a text that hex_count accepted. `bytes` may be the text itself.
void hex_decode(const char *text, uint8_t *bytes, int count);

#endif
