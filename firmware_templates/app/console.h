// The console: answers the requests of the wire protocol about the one model in this firmware.
//
// It answers a request whose sequence number and CRC are those of the last one it carried out from
// what that one left behind, without carrying it out again: the host may repeat a line whenever an
// answer was lost.

#ifndef SHELFCAST_CONSOLE_H
#define SHELFCAST_CONSOLE_H

#include <stdint.h>

// Put the model into its zero state and say who is here: a log line, then `ready` with the same
// key=values as the answer to `hello`.
void console_start(void);

// Take a received byte; at the end of a line, answer it.
void console_receive(uint8_t byte);

#endif
