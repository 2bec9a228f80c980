/* What all scans share: where a chunk may end, and the walk from chunk to chunk. */
#ifndef BITBACKER_SIZES_H
#define BITBACKER_SIZES_H

#include <stddef.h>
#include <stdint.h>

/* A hash depends on this many bytes before its position and on nothing else. */
#define WINDOW ((size_t)64)
#define SYMBOLS 256

typedef struct {
    const unsigned char *bytes;
    size_t size;
} Span;

/* The first position in [begin, end) whose number is below `limit`, or `end`.  begin >= WINDOW. */
typedef size_t FirstMatch(const void *hash, const unsigned char *data, size_t begin, size_t end,
                          uint64_t limit);

typedef struct {
    FirstMatch *first_match;
    const void *hash;
    /* A number of N bits has its n top bits zero when it is below 2^(N-n). */
    uint64_t strict_limit;
    uint64_t loose_limit;
    size_t min_size;
    size_t switch_size;
    size_t max_size;
} Rule;

/* Writes the ends of the chunks and returns how many there are; `ends` has room for all, which is one
 * more than the span has minimal sizes. */
size_t find_ends(const Rule *rule, Span span, int final, size_t *ends);

#endif
