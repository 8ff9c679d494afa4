// What a shelf answers on the wire, beside the console: docs/protocol.md.

#ifndef SHELFCAST_SHELF_VERBS_H
#define SHELFCAST_SHELF_VERBS_H

#include "console.h"
#include "protocol.h"
#include "sensor.h"

// Each answers its verb, as console_verb_t does.
#define SHELF_VERB_DECLARED(verb, usage, meaning)                                                  \
    int shelf_verb_##verb(const console_request_t *request);
PROTOCOL_SHELF_VERBS(SHELF_VERB_DECLARED, SHELF_VERB_DECLARED)

// Take what the board's own sensor saw, and say in a log line what it comes to.
void shelf_verbs_sense(const sensor_sample_t *sample);

#endif
