/* The hash of the chunker `gear`. */
#ifndef BITBACKER_GEAR_H
#define BITBACKER_GEAR_H

#include "_sizes.h"

/* What is below the limit is a hash of 64 bits; `hash` is a table of SYMBOLS numbers. */
FirstMatch gear_first_match;

#endif
