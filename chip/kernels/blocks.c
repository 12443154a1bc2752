/* Block floats: 16 elements along K share an exponent; a row is its exponent bytes (biased by 127), then signed magnitudes.
 *
 * Of 8 bits: a byte each, sign and 7 bits of magnitude, worth magnitude / 64 * 2**(exponent - 127). Of 4 bits: two to a byte,
 * the even element low, sign and 3 bits, magnitude / 4 * 2**(exponent - 127). Each value is a bfloat16 number, except that
 * those below 2**-126 become zero (products of words take denormals for zeros anyway), and that an exponent of 255 makes
 * infinities and NaN of magnitudes of 64 (4) and more.
 */
#include "loops.h"

enum { SHARE = 16 };

Py_ssize_t block_row_bytes(Py_ssize_t k, int bits) { return (k + SHARE - 1) / SHARE * (1 + SHARE * bits / 8); }

/* The word of a magnitude, in units of 2**(exponent - 127 - shift), with its sign in bit 15 of `sign`. */
INLINE word block_word(int magnitude, int exponent, int shift, int sign) {
    float whole = (float)magnitude;
    uint32_t bits;
    memcpy(&bits, &whole, 4);
    int32_t value = (int32_t)(bits >> 16) + (exponent - 127 - shift) * 128;
    return (word)((magnitude && value >= 128 ? value : 0) | (sign & 0x8000));
}

INLINE void unpack_body(const uint8_t *row, word *out, Py_ssize_t blocks, int bits) {
    const uint8_t *from = row + blocks;
    for (Py_ssize_t block = 0; block < blocks; block++, out += SHARE) {
        int exponent = row[block];
        if (bits == 8) {
            for (int i = 0; i < SHARE; i++) out[i] = block_word(from[i] & 127, exponent, 6, from[i] << 8);
            from += SHARE;
        } else {
            for (int i = 0; i < SHARE / 2; i++) {
                out[2 * i] = block_word(from[i] & 7, exponent, 2, from[i] << 12);
                out[2 * i + 1] = block_word(from[i] >> 4 & 7, exponent, 2, from[i] << 8);
            }
            from += SHARE / 2;
        }
    }
}

VERSIONS(unpack, (const uint8_t *row, word *out, Py_ssize_t blocks, int bits), (row, out, blocks, bits))

void unpack_row(const uint8_t *row, word *out, Py_ssize_t k, int bits) { unpack(row, out, (k + SHARE - 1) / SHARE, bits); }
