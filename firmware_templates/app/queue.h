// Bytes on their way from an interrupt (the only writer) to the main loop (the only reader).
//
// Neither side ever waits or masks the other: each index is one byte, written by one side alone.

#ifndef SHELFCAST_QUEUE_H
#define SHELFCAST_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#ifndef QUEUE_BYTES
#define QUEUE_BYTES 64u  // a power of two, at most 128
#endif

#if QUEUE_BYTES > 128u || (QUEUE_BYTES & (QUEUE_BYTES - 1u)) != 0u
#error "QUEUE_BYTES must be a power of two and at most 128."
#endif

// All zero is an empty queue.
typedef struct {
    volatile uint8_t head;  // bytes ever put, modulo 256
    volatile uint8_t tail;  // bytes ever taken, modulo 256
    volatile uint8_t bytes[QUEUE_BYTES];
} queue_t;

static inline bool queue_is_full(const queue_t *queue) {
    return (uint8_t)(queue->head - queue->tail) == QUEUE_BYTES;
}

static inline bool queue_is_empty(const queue_t *queue) {
    return queue->head == queue->tail;
}

// The queue must not be full.
static inline void queue_put(queue_t *queue, uint8_t byte) {
    const uint8_t head = queue->head;
    queue->bytes[head & (QUEUE_BYTES - 1u)] = byte;
    queue->head = (uint8_t)(head + 1u);
}

// The queue must not be empty.
static inline uint8_t queue_take(queue_t *queue) {
    const uint8_t tail = queue->tail;
    const uint8_t byte = queue->bytes[tail & (QUEUE_BYTES - 1u)];
    queue->tail = (uint8_t)(tail + 1u);
    return byte;
}

#endif
