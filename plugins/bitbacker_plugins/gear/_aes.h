/* AES-128 in portable C, without a table or a branch that depends on data or key. */
#ifndef BITBACKER_AES_H
#define BITBACKER_AES_H

#include <stddef.h>
#include <stdint.h>

#define AES_BLOCK 16
#define AES_ROUNDS 10

/* Sixteen bytes as a number, little-endian: byte i of the block is byte i % 8 of half i / 8. */
typedef struct {
    uint64_t half[2];
} Block;

typedef struct {
    Block key[AES_ROUNDS + 1];
} AesKeys;

AesKeys aes_expand(const unsigned char key[AES_BLOCK]);

/* Encrypts blocks to which the first round key has been added already. */
void aes_encrypt_whitened(const AesKeys *keys, Block *blocks, size_t count);

Block block_from_bytes(const unsigned char bytes[AES_BLOCK]);
void block_to_bytes(Block block, unsigned char bytes[AES_BLOCK]);

#endif
