// Q15.16 as a person writes it: decimal, with up to five digits after the point.
//
// Five digits tell any two of these numbers apart: what was written is read as the same number.
// toolchain/shelf/decimals.py is the same in Python.

#ifndef SHELFCAST_DECIMAL_H
#define SHELFCAST_DECIMAL_H

#include <stdint.h>

// Read a decimal, up to the next number of Q15.16; the text is cut at its point. Returns 0, or -1
// when it is negative, above 32767.99999, longer behind the point, or no number.
int decimal_read(char *text, int32_t *number);

// Send a number as part of a line, its digits cut off after the fifth.
void decimal_send(int32_t number);

#endif
