/* `toeplitz-aes` with the AES instructions of x86, in three widths.
 *
 * The hash of a position depends on its window alone, so a stretch of data is cut into lanes that are
 * hashed side by side: rolling one lane takes a few steps that wait for each other, and so does each
 * AES, but those of different lanes do not.
 */
#include "_toeplitz.h"

#ifdef TOEPLITZ_X86

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

/* Matches are looked for once in this many steps. */
#define STEPS 8
/* Vectors side by side; what one waits for is filled by the other and by the steps before. */
#define VECTORS 2
#define LANE_BYTES ((size_t)2048)

#if defined(__clang__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

static int has_aes(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_AES) && __builtin_cpu_supports("sse4.2");
}

/* Leaf 7, bit 9 of ECX. */
static int has_vaes(void)
{
    unsigned a, b, c, d;
    return has_aes() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & 1u << 9);
}

static int has_vaes_256(void)
{
    return has_vaes() && __builtin_cpu_supports("avx2");
}

static int has_vaes_512(void)
{
    return has_vaes() && __builtin_cpu_supports("avx512f");
}

/* Some lane has a match within STEPS positions: those of the first lane begin at `begin`.  `first` is
 * the earliest match of what was searched before. */
typedef struct {
    size_t begin;
    size_t lanes;
    size_t first;
} Found;

static size_t earliest(const Toeplitz *hash, const unsigned char *data, Found found, uint32_t limit)
{
    ToeplitzScan scan = {hash, &toeplitz_aes_ni};
    for (size_t lane = 0; lane < found.lanes; lane++) {
        size_t begin = found.begin + lane * LANE_BYTES;
        size_t at = toeplitz_narrow_match(&scan, data, begin, begin + STEPS, limit);
        if (at < begin + STEPS)
            return at < found.first ? at : found.first;
    }
    return found.first;
}

#define PATH toeplitz_vaes_512
#define NAME "vaes-512"
#define TARGET "avx512f,vaes"
#define AVAILABLE has_vaes_512
#define VECTOR __m512i
#define LOAD(blocks) _mm512_loadu_si512(blocks)
#define STORE(blocks, vector) _mm512_storeu_si512(blocks, vector)
#define SPREAD(block) _mm512_broadcast_i32x4(block)
/* 0x78 is a ^ (b & c). */
#define ROLL(v, change)                                                                                      \
    _mm512_xor_si512(_mm512_ternarylogic_epi64(_mm512_add_epi64(v, v), _mm512_srai_epi64(v, 63),             \
                                               _mm512_set1_epi64(REDUCTION), 0x78),                          \
                     change)
#define AES _mm512_aesenc_epi128
#define AES_LAST _mm512_aesenclast_epi128
#define MIN _mm512_min_epu32
#define ANY_BELOW(v, limit) _mm512_mask_cmplt_epu32_mask(0x1111, v, _mm512_set1_epi32((int)(limit)))
#include "_toeplitz_lanes.h"

#define PATH toeplitz_vaes_256
#define NAME "vaes-256"
#define TARGET "avx2,vaes"
#define AVAILABLE has_vaes_256
#define VECTOR __m256i
#define LOAD(blocks) _mm256_loadu_si256((const __m256i *)(blocks))
#define STORE(blocks, vector) _mm256_storeu_si256((__m256i *)(blocks), vector)
#define SPREAD _mm256_broadcastsi128_si256
#define CARRY(v)                                                                                             \
    _mm256_and_si256(_mm256_cmpgt_epi64(_mm256_setzero_si256(), v), _mm256_set1_epi64x(REDUCTION))
#define ROLL(v, change) _mm256_xor_si256(_mm256_xor_si256(_mm256_add_epi64(v, v), change), CARRY(v))
#define AES _mm256_aesenc_epi128
#define AES_LAST _mm256_aesenclast_epi128
#define MIN _mm256_min_epu32
#define ANY_BELOW(v, limit)                                                                                  \
    (_mm256_movemask_epi8(_mm256_cmpeq_epi32(MIN(v, _mm256_set1_epi32((int)(limit)-1)), v)) & 0x000F000F)
#include "_toeplitz_lanes.h"
#undef CARRY

#define PATH toeplitz_aes_ni
#define NAME "aes-ni"
#define TARGET "sse4.2,aes"
#define AVAILABLE has_aes
#define VECTOR __m128i
#define LOAD(blocks) _mm_loadu_si128((const __m128i *)(blocks))
#define STORE(blocks, vector) _mm_storeu_si128((__m128i *)(blocks), vector)
#define SPREAD(block) (block)
#define CARRY(v) _mm_and_si128(_mm_cmpgt_epi64(_mm_setzero_si128(), v), _mm_set1_epi64x(REDUCTION))
#define ROLL(v, change) _mm_xor_si128(_mm_xor_si128(_mm_add_epi64(v, v), change), CARRY(v))
#define AES _mm_aesenc_si128
#define AES_LAST _mm_aesenclast_si128
#define MIN _mm_min_epu32
#define ANY_BELOW(v, limit)                                                                                  \
    (_mm_movemask_epi8(_mm_cmpeq_epi32(MIN(v, _mm_set1_epi32((int)(limit)-1)), v)) & 0x000F)
#include "_toeplitz_lanes.h"

#endif
