// Softmax of int8 values, equal to TFLite Micro's SOFTMAX with int8 inputs and outputs.

#ifndef SHELFCAST_SOFTMAX_H
#define SHELFCAST_SOFTMAX_H

#include <stdint.h>

#include "flash.h"

// Turn values (size, 1..511) into their shares of 1, in steps of 1/256 from -128, in place.
//
// exponentials (256): exp(-scale * n) in Q0.31, by how far n a value is below the largest.
void softmax_forward(int8_t *values, const FLASH_DATA int32_t *exponentials, uint16_t size);

#endif
