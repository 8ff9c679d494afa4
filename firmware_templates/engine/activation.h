// Sigmoid and tanh of int16 values, by interpolation in one shared table.

#ifndef SHELFCAST_ACTIVATION_H
#define SHELFCAST_ACTIVATION_H

#include <stdint.h>

#include "flash.h"

// sigmoid(n / 24) for n = 0..255, Q0.16. Rendered into tables.c.
extern const FLASH_DATA uint16_t activation_table[256];

// Q3.12 -> Q0.15.
int16_t activation_sigmoid(int16_t value);

// An int16 of scale 2^scale_power (-18..-9) -> Q0.15.
int16_t activation_tanh(int16_t value, int8_t scale_power);

#endif
