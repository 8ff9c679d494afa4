#include "console.h"
#include "port.h"
#if APPLICATION_SHELF
#include "shelf.h"
#include "shelf_verbs.h"
#endif

int main(void) {
    port_init();
#if APPLICATION_SHELF
    shelf_start();
#endif
    console_start();
    for (;;) {
        const int byte = port_get();
        if (byte >= 0) {
            console_receive((uint8_t)byte);
        }
#if APPLICATION_SHELF
        sensor_sample_t sample;
        if (sensor_read(&sample)) {
            shelf_verbs_sense(&sample);
        }
#endif
    }
}
