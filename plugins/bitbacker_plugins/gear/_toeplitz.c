/* The hash of the chunker `toeplitz-aes`; the rules are in docs/chunkers.md. */
#include "_toeplitz.h"

#define BATCH 128

static int always(void)
{
    return 1;
}

static const Path portable = {"portable", always, aes_encrypt_whitened, NULL, 0};

const Path *const toeplitz_paths[] = {
#ifdef TOEPLITZ_X86
    &toeplitz_vaes_512, &toeplitz_vaes_256, &toeplitz_aes_ni,
#endif
    &portable, NULL};

/* Times x^width, for widths up to 32. */
static uint64_t shifted(uint64_t element, unsigned width)
{
    uint64_t over = element >> (64 - width);
    return element << width ^ over ^ over << 1 ^ over << 3 ^ over << 4;
}

void toeplitz_prepare(Toeplitz *hash, const Block *table, const unsigned char key[AES_BLOCK])
{
    hash->keys = aes_expand(key);
    for (size_t half = 0; half < 2; half++) {
        uint64_t white = hash->keys.key[0].half[half];
        for (size_t symbol = 0; symbol < SYMBOLS; symbol++) {
            uint64_t element = table[symbol].half[half];
            hash->enter[symbol].half[half] = element ^ white ^ shifted(white, 1);
            /* By WINDOW bits. */
            hash->leave[symbol].half[half] = shifted(shifted(element, 32), 32);
        }
    }
}

static void enter(const Toeplitz *hash, Block *state, unsigned char symbol)
{
    for (size_t half = 0; half < 2; half++)
        state->half[half] = shifted(state->half[half], 1) ^ hash->enter[symbol].half[half];
}

static void leave(const Toeplitz *hash, Block *state, unsigned char symbol)
{
    for (size_t half = 0; half < 2; half++)
        state->half[half] ^= hash->leave[symbol].half[half];
}

size_t toeplitz_narrow_match(const ToeplitzScan *scan, const unsigned char *data, size_t begin,
                             size_t end, uint32_t limit)
{
    const Toeplitz *hash = scan->hash;
    Block state = hash->keys.key[0];
    for (size_t i = begin - WINDOW; i < begin - 1; i++)
        enter(hash, &state, data[i]);
    Block batch[BATCH];
    for (size_t done = begin; done < end;) {
        size_t count = end - done < BATCH ? end - done : BATCH;
        for (size_t i = 0; i < count; i++) {
            size_t at = done + i;
            enter(hash, &state, data[at - 1]);
            if (at > begin)
                leave(hash, &state, data[at - 1 - WINDOW]);
            batch[i] = state;
        }
        scan->path->encrypt(&hash->keys, batch, count);
        for (size_t i = 0; i < count; i++)
            if ((uint32_t)batch[i].half[0] < limit)
                return done + i;
        done += count;
    }
    return end;
}

size_t toeplitz_first_match(const void *toeplitz_scan, const unsigned char *data, size_t begin,
                            size_t end, uint64_t limit)
{
    const ToeplitzScan *scan = toeplitz_scan;
    const Path *path = scan->path;
    uint32_t low = (uint32_t)limit;
    if (path->wide == 0 || end - begin <= path->wide)
        return toeplitz_narrow_match(scan, data, begin, end, low);
    if (toeplitz_narrow_match(scan, data, begin, begin + 1, low) == begin)
        return begin;
    for (size_t at = begin + 1; at < end; at += path->wide) {
        /* The last stretch begins among positions that are known not to match. */
        size_t from = end - at < path->wide ? end - path->wide : at;
        size_t found = path->wide_match(scan->hash, data, from, low);
        if (found < from + path->wide)
            return found;
    }
    return end;
}
