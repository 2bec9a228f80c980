/* One path of `toeplitz-aes` for x86, for vectors of one width.
 *
 * Included once for each width, with these defined: PATH, the path's name in C; NAME, its name; TARGET,
 * the instructions that it may use; AVAILABLE, which says whether the processor has them; and VECTOR with
 * LOAD, STORE, SPREAD (a block in every lane), ROLL (each half times x, plus a change), AES, AES_LAST,
 * MIN and ANY_BELOW (of the first numbers of all blocks).
 */

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)
#define LOCAL(name) PASTE(name##_, PATH)

#define VECTOR_BLOCKS (sizeof(VECTOR) / sizeof(Block))
#define LANES (VECTORS * VECTOR_BLOCKS)
#define INLINE __attribute__((target(TARGET), always_inline)) static inline

typedef struct {
    Block lane[LANES];
} LOCAL(Row);

/* What enters and leaves the hash of every lane with the bytes at `at`; lanes lie LANE_BYTES apart.
 * Rows are filled some steps before they are used: the loads of a vector would wait for fresh stores. */
INLINE void LOCAL(fill)(LOCAL(Row) *row, const Toeplitz *hash, const unsigned char *at, int leaves)
{
    UNROLLED
    for (size_t lane = 0; lane < LANES; lane++) {
        const unsigned char *byte = at + lane * LANE_BYTES;
        __m128i change = _mm_loadu_si128((const __m128i *)&hash->enter[*byte]);
        if (leaves)
            change = _mm_xor_si128(change, _mm_loadu_si128((const __m128i *)&hash->leave[*(byte - WINDOW)]));
        _mm_storeu_si128((__m128i *)&row->lane[lane], change);
    }
}

INLINE VECTOR LOCAL(rolled)(VECTOR state, const LOCAL(Row) *row, size_t vector)
{
    VECTOR change = LOAD(&row->lane[vector * VECTOR_BLOCKS]);
    return ROLL(state, change);
}

INLINE VECTOR LOCAL(encrypted)(VECTOR state, const VECTOR *keys)
{
    UNROLLED
    for (size_t round = 1; round < AES_ROUNDS; round++)
        state = AES(state, keys[round]);
    return AES_LAST(state, keys[AES_ROUNDS]);
}

__attribute__((target(TARGET))) static size_t LOCAL(match)(const Toeplitz *hash,
                                                           const unsigned char *data, size_t begin,
                                                           uint32_t limit)
{
    LOCAL(Row) rows[2][STEPS] __attribute__((aligned(64)));
    VECTOR keys[AES_ROUNDS + 1], state[VECTORS];
    for (size_t round = 0; round <= AES_ROUNDS; round++)
        keys[round] = SPREAD(_mm_loadu_si128((const __m128i *)&hash->keys.key[round]));
    for (size_t v = 0; v < VECTORS; v++)
        state[v] = keys[0];
    const unsigned char *at = data + begin - 1;
    for (size_t i = 0; i < WINDOW; i += STEPS) {
        for (size_t t = 0; t < STEPS; t++)
            LOCAL(fill)(&rows[0][t], hash, at - WINDOW + i + t, 0);
        for (size_t t = 0; t < STEPS; t++)
            for (size_t v = 0; v < VECTORS; v++)
                state[v] = LOCAL(rolled)(state[v], &rows[0][t], v);
    }
    for (size_t t = 0; t < STEPS; t++)
        LOCAL(fill)(&rows[0][t], hash, at + t, 1);
    size_t first = begin + LANES * LANE_BYTES;
    for (size_t i = 0; i < LANE_BYTES; i += STEPS) {
        /* The last round fills rows that nobody uses, and must not read behind the data. */
        const unsigned char *ahead = at + (i + STEPS < LANE_BYTES ? i + STEPS : i);
        const LOCAL(Row) *now = rows[i / STEPS % 2];
        LOCAL(Row) *next = rows[1 - i / STEPS % 2];
        VECTOR least = SPREAD(_mm_set1_epi32(-1));
        UNROLLED
        for (size_t t = 0; t < STEPS; t++) {
            LOCAL(fill)(&next[t], hash, ahead + t, 1);
            /* Lanes that end after LANE_BYTES keep the processor from seeing what is wanted next. */
            __builtin_prefetch(ahead + (LANES + t % LANES) * LANE_BYTES);
            UNROLLED
            for (size_t v = 0; v < VECTORS; v++) {
                state[v] = LOCAL(rolled)(state[v], &now[t], v);
                least = MIN(least, LOCAL(encrypted)(state[v], keys));
            }
        }
        if (__builtin_expect(ANY_BELOW(least, limit), 0))
            first = earliest(hash, data, (Found){begin + i, LANES, first}, limit);
    }
    return first;
}

__attribute__((target(TARGET))) static void LOCAL(encrypt)(const AesKeys *aes, Block *blocks, size_t count)
{
    VECTOR keys[AES_ROUNDS + 1];
    for (size_t round = 1; round <= AES_ROUNDS; round++)
        keys[round] = SPREAD(_mm_loadu_si128((const __m128i *)&aes->key[round]));
    size_t whole = count - count % VECTOR_BLOCKS;
    for (size_t done = 0; done < whole; done += VECTOR_BLOCKS)
        STORE(blocks + done, LOCAL(encrypted)(LOAD(blocks + done), keys));
    if (whole < count) {
        Block some[VECTOR_BLOCKS] = {{{0, 0}}};
        memcpy(some, blocks + whole, (count - whole) * sizeof(Block));
        STORE(some, LOCAL(encrypted)(LOAD(some), keys));
        memcpy(blocks + whole, some, (count - whole) * sizeof(Block));
    }
}

const Path PATH = {NAME, AVAILABLE, LOCAL(encrypt), LOCAL(match), LANES * LANE_BYTES};

#undef PASTE2
#undef PASTE
#undef LOCAL
#undef VECTOR_BLOCKS
#undef LANES
#undef INLINE
#undef PATH
#undef NAME
#undef TARGET
#undef AVAILABLE
#undef VECTOR
#undef LOAD
#undef STORE
#undef SPREAD
#undef ROLL
#undef AES
#undef AES_LAST
#undef MIN
#undef ANY_BELOW
