#include "console.h"
#include "port.h"

int main(void) {
    port_init();
    console_start();
    for (;;) {
        const int byte = port_get();
        if (byte >= 0) {
            console_receive((uint8_t)byte);
        }
    }
}
