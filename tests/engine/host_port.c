// The port of a host: the console over standard input and output, until the input ends.
//
// Time stands still; port_ticks tells how many measurements were ever begun, so that a forecast
// that was computed twice shows.

#include "port.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t port_measurements;

void port_init(void) {
    (void)setvbuf(stdout, NULL, _IOFBF, 1 << 16);
}

void port_put(uint8_t byte) {
    (void)putchar(byte);
}

int port_get(void) {
    const int byte = getchar();
    if (byte == EOF) {
        exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    }
    return byte;
}

uint32_t port_clock_hz(void) {
    return 1000000u;
}

void port_start_ticks(void) {
    port_measurements++;
}

uint32_t port_ticks(void) {
    return port_measurements;
}

uint32_t port_static_bytes(void) {
    return 1234u;
}

uint32_t port_stack_bytes(void) {
    return 4096u;
}

uint32_t port_stack_used(void) {
    return 612u;
}
