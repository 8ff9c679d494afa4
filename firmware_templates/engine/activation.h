// Sigmoid and tanh of int16 values, by interpolation in one shared table.

#ifndef SHELFCAST_ACTIVATION_H
#define SHELFCAST_ACTIVATION_H

#include <stdint.h>

#include "config.h"
#include "flash.h"

// Knots of sigmoid(k / 24), Q0.16. Rendered into tables.c.
#if ACTIVATION_TABLE_SIGNED
extern const FLASH_DATA int16_t
    activation_table[514];  // k = -256..257, less 32,768; or that negated
#elif ACTIVATION_TABLE_POSITIVE
extern const FLASH_DATA int16_t activation_table[256];  // k = 0..255, less 32,768
#else
extern const FLASH_DATA uint16_t activation_table[256];  // k = 0..255
#endif

// Q3.12 -> Q0.15.
int16_t activation_sigmoid(int16_t value);

// An int16 of scale 2^scale_power (-18..-9) -> Q0.15.
int16_t activation_tanh(int16_t value, int8_t scale_power);

#endif
