#include "sensor.h"

__attribute__((weak)) bool sensor_read(sensor_sample_t *sample) {
    (void)sample;
    return false;
}
