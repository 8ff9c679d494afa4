// Units and values: reads records of eight int32 and writes what each quantizes to, and from.
//
// A record is units, mean, deviation, scale, zero point, low, high, value.

#include "units.h"

#include <stdio.h>

int main(void) {
    int32_t record[8];
    while (fread(record, sizeof record, 1, stdin) == 1) {
        const units_scaling_t shelf = {.mean = record[1], .deviation = record[2]};
        const units_format_t format = {
            .scale = (uint32_t)record[3],
            .zero_point = (int8_t)record[4],
            .low = (int8_t)record[5],
            .high = (int8_t)record[6],
        };
        const int32_t answer[2] = {
            units_quantize(record[0], &format, &shelf),
            units_dequantize((int8_t)record[7], &format, &shelf),
        };
        if (fwrite(answer, sizeof answer, 1, stdout) != 1) {
            return 1;
        }
    }
    return 0;
}
