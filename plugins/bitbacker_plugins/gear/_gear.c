/* The hash of the chunker `gear`; the rules are in docs/chunkers.md. */
#include "_gear.h"

/* Any stretch of data can be hashed in several lanes at once.  One lane would wait for its own last
 * addition; four keep the core busy. */
#define LANES 4
#define LANE_BYTES ((size_t)2048)

/* The hash of the WINDOW - 1 bytes at `bytes`, ready to take the last byte of its window. */
static uint64_t warm(const uint64_t *table, const unsigned char *bytes)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < WINDOW - 1; i++)
        hash = (hash << 1) + table[bytes[i]];
    return hash;
}

/* Whether any of the LANES * LANE_BYTES positions from `begin` on has a hash below `limit`. */
static int lanes_match(const uint64_t *table, const unsigned char *data, size_t begin, uint64_t limit)
{
    const unsigned char *a = data + begin - 1;
    const unsigned char *b = a + LANE_BYTES;
    const unsigned char *c = b + LANE_BYTES;
    const unsigned char *d = c + LANE_BYTES;
    uint64_t hash_a = warm(table, a - (WINDOW - 1));
    uint64_t hash_b = warm(table, b - (WINDOW - 1));
    uint64_t hash_c = warm(table, c - (WINDOW - 1));
    uint64_t hash_d = warm(table, d - (WINDOW - 1));
    for (size_t i = 0; i < LANE_BYTES; i++) {
        hash_a = (hash_a << 1) + table[a[i]];
        hash_b = (hash_b << 1) + table[b[i]];
        hash_c = (hash_c << 1) + table[c[i]];
        hash_d = (hash_d << 1) + table[d[i]];
        if (hash_a < limit || hash_b < limit || hash_c < limit || hash_d < limit)
            return 1;
    }
    return 0;
}

size_t gear_first_match(const void *hash_table, const unsigned char *data, size_t begin, size_t end,
                        uint64_t limit)
{
    const uint64_t *table = hash_table;
    while (end - begin >= LANES * LANE_BYTES && !lanes_match(table, data, begin, limit))
        begin += LANES * LANE_BYTES;
    if (begin == end)
        return end;
    uint64_t hash = warm(table, data + begin - WINDOW);
    for (size_t at = begin; at < end; at++) {
        hash = (hash << 1) + table[data[at - 1]];
        if (hash < limit)
            return at;
    }
    return end;
}
