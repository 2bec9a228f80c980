/* The hash of the chunker `toeplitz-aes`, and the paths on which it can be computed. */
#ifndef BITBACKER_TOEPLITZ_H
#define BITBACKER_TOEPLITZ_H

#include "_aes.h"
#include "_sizes.h"

/* Two numbers of 64 bits, each of them an element of GF(2)[x] / (x^64 + x^4 + x^3 + x + 1).
 *
 * The hash is kept with the first round key of AES added to it, which saves AES that addition.  It
 * stays added because `enter` makes up for what a shift does to it. */
typedef struct {
    Block enter[SYMBOLS];
    Block leave[SYMBOLS];
    AesKeys keys;
} Toeplitz;

#define REDUCTION ((uint64_t)0x1B)

typedef struct {
    const char *name;
    int (*available)(void);
    /* Encrypts blocks to which the first round key has been added already. */
    void (*encrypt)(const AesKeys *keys, Block *blocks, size_t count);
    /* The first of `wide` positions from `begin` on whose number is below `limit`, or begin + wide;
     * absent where `wide` is 0.  begin > WINDOW. */
    size_t (*wide_match)(const Toeplitz *hash, const unsigned char *data, size_t begin, uint32_t limit);
    size_t wide;
} Path;

/* Fastest first; the last one, which is available everywhere, is "portable", and NULL ends the list. */
extern const Path *const toeplitz_paths[];

/* What a table of SYMBOLS blocks and an AES key mean. */
void toeplitz_prepare(Toeplitz *hash, const Block *table, const unsigned char key[AES_BLOCK]);

typedef struct {
    const Toeplitz *hash;
    const Path *path;
} ToeplitzScan;

/* What is below the limit is a number of 32 bits; `hash` is a ToeplitzScan. */
FirstMatch toeplitz_first_match;

/* The same with batches of blocks; `begin` may be WINDOW, and every length is as good as any other. */
size_t toeplitz_narrow_match(const ToeplitzScan *scan, const unsigned char *data, size_t begin,
                             size_t end, uint32_t limit);

#if defined(__x86_64__) && (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 8))
#define TOEPLITZ_X86
extern const Path toeplitz_vaes_512, toeplitz_vaes_256, toeplitz_aes_ni;
#endif

#endif
