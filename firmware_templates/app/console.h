// The console: answers the requests of the wire protocol about the one model in this firmware.
//
// It answers a request whose sequence number and CRC are those of the last one it carried out from
// what that one left behind, without carrying it out again: the host may repeat a line whenever an
// answer was lost.

#ifndef SHELFCAST_CONSOLE_H
#define SHELFCAST_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "flash.h"

// Put the model into its zero state and say who is here: a log line, then `ready` with the same
// key=values as the answer to `hello`.
void console_start(void);

// Take a received byte; at the end of a line, answer it.
void console_receive(uint8_t byte);

// What the verbs of an application beside the console need of it.

// A request whose CRC has been checked.
typedef struct {
    uint16_t seq;                  // 0: none
    bool repeated;                 // carried out already: answer from what it left behind
    const FLASH_DATA char *name;   // of the verb
    const FLASH_DATA char *usage;  // its arguments, as `help` shows them
    char *arguments;               // after the verb, or empty
} console_request_t;

// 0, or -1 when the request was refused and that has been answered.
typedef int (*console_verb_t)(const console_request_t *request);

#if APPLICATION_SHELF
#define CONSOLE_SHARED

// Begin the answer to a request in fixed words.
void console_begin(uint16_t seq, const FLASH_DATA char *words);

// Refuse a request in fixed words. Returns -1, for the caller to return.
int console_refuse(uint16_t seq, const FLASH_DATA char *code, const FLASH_DATA char *words);

// Refuse a request for its arguments: what the verb takes, then the reason. Returns -1.
int console_refuse_arguments(const console_request_t *request, const FLASH_DATA char *reason);

// Cut the next word off *rest, which then begins after it. Empty when there is none.
char *console_word(char **rest);

// Read a decimal number; one too large for 32 bits becomes the largest, which nothing here has.
// Returns 0, or -1 when the word is no number.
int console_number(const char *word, uint32_t *value);
#else
#define CONSOLE_SHARED static  // nobody else calls them: the compiler may fold them in
#endif

#endif
