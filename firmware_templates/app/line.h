// Lines of text with a CRC: what the wire carries.
//
// One request is kept in RAM while it is received. Answers are not kept at all: they are sent byte
// by byte with their CRC running along.

#ifndef SHELFCAST_LINE_H
#define SHELFCAST_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "board.h"
#include "flash.h"

typedef enum {
    LINE_PART,      // the line has not ended yet
    LINE_WHOLE,     // `text` is a whole line, without its newline, ended by NUL
    LINE_TOO_LONG,  // a line ended that had more than BOARD_LINE_BYTES; it is gone
} line_event_t;

// A line being received. All zero before the first byte.
typedef struct {
    uint16_t length;  // bytes received of this line; more than fit are counted, not kept
    bool ended;       // the last byte ended a line: the next one starts anew
    char text[BOARD_LINE_BYTES];
} line_reader_t;

// Take a received byte. A carriage return before the newline is dropped.
line_event_t line_receive(uint8_t byte, line_reader_t *reader);

typedef enum {
    LINE_CRC_ABSENT,
    LINE_CRC_RIGHT,
    LINE_CRC_WRONG,
} line_crc_t;

// Check the CRC at the end of a whole line and cut it off. *crc is that of the line before it.
line_crc_t line_check(line_reader_t *reader, uint32_t *crc);

// Send a line: begin, any pieces, end. Nothing else may be sent in between.
void line_begin(void);
void line_text(const FLASH_DATA char *text);  // a FLASH_TEXT
void line_char(char character);               // for the shelf's name
void line_unsigned(uint32_t value);
void line_signed(int32_t value);
void line_hex32(uint32_t value);
void line_hex_bytes(const int8_t *bytes, uint16_t count);
void line_hex_words(const int16_t *words, uint16_t count);  // little-endian
void line_end(void);                                        // " *crc" and newline
void line_end_log(void);                                    // newline alone

#endif
