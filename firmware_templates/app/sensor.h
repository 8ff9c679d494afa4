// A sensor of the board's own, for who has one: it counts what is sold and what is left.

#ifndef SHELFCAST_SENSOR_H
#define SHELFCAST_SENSOR_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint16_t day;   // since 1970-01-01
    int32_t units;  // sold on it, Q15.16
    int32_t stock;  // at its end, Q15.16
} sensor_sample_t;

// Whether a day has ended since the last call; if so, what it came to. Asked whenever the board
// waits for a byte. The one in sensor.c, which never has anything, gives way to yours.
bool sensor_read(sensor_sample_t *sample);

#endif
