/* AES-128 (FIPS 197), bit-sliced: a word holds one and the same bit of many blocks.
 *
 * ShiftRows is then a matter of names, and SubBytes a circuit of ANDs and XORs, that of J. Boyar and
 * R. Peralta, "A depth-16 circuit for the AES S-box" (2011).  The time depends on nothing but the count.
 */
#include "_aes.h"

#include <string.h>

/* Where the compiler knows vectors, a word is one of 128 bits, which every 64-bit processor has. */
#if defined(__GNUC__)
typedef uint64_t Word __attribute__((vector_size(16)));
#else
typedef uint64_t Word;
#endif
#define WORD_LANES (sizeof(Word) / sizeof(uint64_t))
#define SLICE_BLOCKS (64 * WORD_LANES)

/* The bits of a byte in all blocks, the lowest first. */
typedef struct {
    Word bit[8];
} Byte;

typedef struct {
    Byte byte[AES_BLOCK];
} Slice;

static void sub_byte(Byte *byte)
{
    Word *q = byte->bit;
    Word x0 = q[7], x1 = q[6], x2 = q[5], x3 = q[4], x4 = q[3], x5 = q[2], x6 = q[1], x7 = q[0];

    /* Into the tower field. */
    Word y14 = x3 ^ x5, y13 = x0 ^ x6, y9 = x0 ^ x3, y8 = x0 ^ x5;
    Word t0 = x1 ^ x2;
    Word y1 = t0 ^ x7, y4 = y1 ^ x3, y12 = y13 ^ y14, y2 = y1 ^ x0, y5 = y1 ^ x6, y3 = y5 ^ y8;
    Word t1 = x4 ^ y12;
    Word y15 = t1 ^ x5, y20 = t1 ^ x1, y6 = y15 ^ x7, y10 = y15 ^ t0, y11 = y20 ^ y9, y7 = x7 ^ y11;
    Word y17 = y10 ^ y11, y19 = y10 ^ y8, y16 = t0 ^ y11, y21 = y13 ^ y16, y18 = x0 ^ y16;

    /* The inverse. */
    Word t2 = y12 & y15, t4 = (y3 & y6) ^ t2, t6 = (y4 & x7) ^ t2;
    Word t7 = y13 & y16, t9 = (y5 & y1) ^ t7, t11 = (y2 & y7) ^ t7;
    Word t12 = y9 & y11, t14 = (y14 & y17) ^ t12, t16 = (y8 & y10) ^ t12;
    Word t21 = t4 ^ t14 ^ y20, t22 = t6 ^ t16 ^ y19, t23 = t9 ^ t14 ^ y21, t24 = t11 ^ t16 ^ y18;
    Word t25 = t21 ^ t22, t26 = t21 & t23, t27 = t24 ^ t26, t29 = (t25 & t27) ^ t22;
    Word t30 = t23 ^ t24, t31 = t22 ^ t26, t33 = (t31 & t30) ^ t24;
    Word t34 = t23 ^ t33, t35 = t27 ^ t33, t36 = t24 & t35, t37 = t36 ^ t34, t38 = t27 ^ t36;
    Word t40 = t25 ^ (t29 & t38), t41 = t40 ^ t37, t42 = t29 ^ t33, t43 = t29 ^ t40, t44 = t33 ^ t37;
    Word t45 = t42 ^ t41;
    Word z0 = t44 & y15, z1 = t37 & y6, z2 = t33 & x7, z3 = t43 & y16, z4 = t40 & y1, z5 = t29 & y7;
    Word z6 = t42 & y11, z7 = t45 & y17, z8 = t41 & y10, z9 = t44 & y12, z10 = t37 & y3, z11 = t33 & y4;
    Word z12 = t43 & y13, z13 = t40 & y5, z14 = t29 & y2, z15 = t42 & y9, z16 = t45 & y14, z17 = t41 & y8;

    /* Out of the tower field, and the affine map. */
    Word t46 = z15 ^ z16, t47 = z10 ^ z11, t48 = z5 ^ z13, t49 = z9 ^ z10, t50 = z2 ^ z12, t51 = z2 ^ z5;
    Word t52 = z7 ^ z8, t53 = z0 ^ z3, t54 = z6 ^ z7, t55 = z16 ^ z17, t56 = z12 ^ t48, t57 = t50 ^ t53;
    Word t58 = z4 ^ t46, t59 = z3 ^ t54, t60 = t46 ^ t57, t61 = z14 ^ t57, t62 = t52 ^ t58;
    Word t63 = t49 ^ t58, t64 = z4 ^ t59, t65 = t61 ^ t62, t66 = z1 ^ t63, t67 = t64 ^ t65;
    q[7] = t59 ^ t63;
    q[1] = t56 ^ ~t62;
    q[0] = t48 ^ ~t60;
    q[4] = t53 ^ t66;
    q[3] = t51 ^ t66;
    q[2] = t47 ^ t65;
    q[6] = t64 ^ ~q[4];
    q[5] = t55 ^ ~t67;
}

static void add_round_key(Slice *slice, Block key)
{
    for (size_t i = 0; i < AES_BLOCK; i++)
        for (size_t bit = 0; bit < 8; bit++) {
            uint64_t mask = 0 - (key.half[i / 8] >> (8 * (i % 8) + bit) & 1);
            slice->byte[i].bit[bit] ^= (Word){0} + mask;
        }
}

/* Byte i is row i % 4 of column i / 4; row r moves r columns. */
static void shift_rows(Slice *slice)
{
    Slice old = *slice;
    for (size_t i = 0; i < AES_BLOCK; i++)
        slice->byte[i] = old.byte[(i + 4 * (i % 4)) % AES_BLOCK];
}

/* With the polynomial x^8 + x^4 + x^3 + x + 1. */
static Byte times_x(Byte b)
{
    Word top = b.bit[7];
    Byte doubled = {{top, b.bit[0] ^ top, b.bit[1], b.bit[2] ^ top, b.bit[3] ^ top, b.bit[4], b.bit[5],
                     b.bit[6]}};
    return doubled;
}

static Byte sum(Byte a, Byte b)
{
    for (size_t bit = 0; bit < 8; bit++)
        a.bit[bit] ^= b.bit[bit];
    return a;
}

static void mix_columns(Slice *slice)
{
    for (Byte *column = slice->byte; column < slice->byte + AES_BLOCK; column += 4) {
        Byte a = column[0], b = column[1], c = column[2], d = column[3];
        Byte all = sum(sum(a, b), sum(c, d));
        column[0] = sum(sum(a, all), times_x(sum(a, b)));
        column[1] = sum(sum(b, all), times_x(sum(b, c)));
        column[2] = sum(sum(c, all), times_x(sum(c, d)));
        column[3] = sum(sum(d, all), times_x(sum(d, a)));
    }
}

/* Swaps rows and columns of 64 times 64 bits. */
static void transpose(uint64_t rows[64])
{
    static const uint64_t masks[6] = {0x00000000FFFFFFFF, 0x0000FFFF0000FFFF, 0x00FF00FF00FF00FF,
                                      0x0F0F0F0F0F0F0F0F, 0x3333333333333333, 0x5555555555555555};
    for (unsigned step = 0; step < 6; step++) {
        unsigned width = 32u >> step;
        for (unsigned i = 0; i < 64; i = (i + width + 1) & ~width) {
            uint64_t swap = (rows[i] >> width ^ rows[i + width]) & masks[step];
            rows[i] ^= swap << width;
            rows[i + width] ^= swap;
        }
    }
}

/* Moves one half of 64 blocks into lane `lane` of the slice. */
static void load_half(Slice *slice, const Block *blocks, size_t half, size_t lane)
{
    uint64_t rows[64];
    for (size_t i = 0; i < 64; i++)
        rows[i] = blocks[i].half[half];
    transpose(rows);
    for (size_t i = 0; i < 64; i++)
        memcpy((char *)&slice->byte[8 * half + i / 8].bit[i % 8] + 8 * lane, &rows[i], 8);
}

static void store_half(const Slice *slice, Block *blocks, size_t half, size_t lane)
{
    uint64_t rows[64];
    for (size_t i = 0; i < 64; i++)
        memcpy(&rows[i], (const char *)&slice->byte[8 * half + i / 8].bit[i % 8] + 8 * lane, 8);
    transpose(rows);
    for (size_t i = 0; i < 64; i++)
        blocks[i].half[half] = rows[i];
}

static void encrypt_slice(const AesKeys *keys, Slice *slice)
{
    for (size_t round = 1; round <= AES_ROUNDS; round++) {
        for (size_t i = 0; i < AES_BLOCK; i++)
            sub_byte(&slice->byte[i]);
        shift_rows(slice);
        if (round < AES_ROUNDS)
            mix_columns(slice);
        add_round_key(slice, keys->key[round]);
    }
}

void aes_encrypt_whitened(const AesKeys *keys, Block *blocks, size_t count)
{
    while (count > 0) {
        size_t taken = count < SLICE_BLOCKS ? count : SLICE_BLOCKS;
        Block batch[SLICE_BLOCKS] = {{{0, 0}}};
        memcpy(batch, blocks, taken * sizeof *blocks);
        Slice slice;
        for (size_t part = 0; part < 2 * WORD_LANES; part++)
            load_half(&slice, batch + 64 * (part / 2), part % 2, part / 2);
        encrypt_slice(keys, &slice);
        for (size_t part = 0; part < 2 * WORD_LANES; part++)
            store_half(&slice, batch + 64 * (part / 2), part % 2, part / 2);
        memcpy(blocks, batch, taken * sizeof *blocks);
        blocks += taken;
        count -= taken;
    }
}

/* SubBytes of the four bytes of a word of the key schedule. */
static uint32_t sub_word(uint32_t word)
{
    uint64_t bits[8] = {0};
    for (unsigned i = 0; i < 32; i++)
        bits[i % 8] |= (uint64_t)(word >> i & 1) << i / 8;
    Byte byte;
    for (unsigned bit = 0; bit < 8; bit++)
        byte.bit[bit] = (Word){0} + bits[bit];
    sub_byte(&byte);
    for (unsigned bit = 0; bit < 8; bit++)
        memcpy(&bits[bit], &byte.bit[bit], sizeof bits[bit]);
    word = 0;
    for (unsigned i = 0; i < 32; i++)
        word |= (uint32_t)(bits[i % 8] >> i / 8 & 1) << i;
    return word;
}

AesKeys aes_expand(const unsigned char key[AES_BLOCK])
{
    AesKeys keys;
    keys.key[0] = block_from_bytes(key);
    uint32_t constant = 1;
    for (size_t round = 1; round <= AES_ROUNDS; round++) {
        const uint64_t *old = keys.key[round - 1].half;
        uint32_t last = (uint32_t)(old[1] >> 32);
        uint32_t word[4] = {(uint32_t)old[0], (uint32_t)(old[0] >> 32), (uint32_t)old[1], last};
        word[0] ^= sub_word(last >> 8 | last << 24) ^ constant;
        for (size_t i = 1; i < 4; i++)
            word[i] ^= word[i - 1];
        keys.key[round].half[0] = word[0] | (uint64_t)word[1] << 32;
        keys.key[round].half[1] = word[2] | (uint64_t)word[3] << 32;
        constant = constant < 0x80 ? constant << 1 : 0x1B;
    }
    return keys;
}

Block block_from_bytes(const unsigned char bytes[AES_BLOCK])
{
    Block block = {{0, 0}};
    for (size_t i = 0; i < AES_BLOCK; i++)
        block.half[i / 8] |= (uint64_t)bytes[i] << 8 * (i % 8);
    return block;
}

void block_to_bytes(Block block, unsigned char bytes[AES_BLOCK])
{
    for (size_t i = 0; i < AES_BLOCK; i++)
        bytes[i] = (unsigned char)(block.half[i / 8] >> 8 * (i % 8));
}
