/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Names as 64-bit digests, the same in the socket hooks and in user space: SipHash-2-4 (Aumasson and
 * Bernstein 2012) under a random seed of each attachment (attachment.digest_seed), because users
 * choose names of files and of cgroups, and shall not find two that look alike. Words that go in: the
 * parent's digest, the name with zeros up to a multiple of 8 octets, its length.
 *
 *   cgroup      level 1 is digest(0, name), level i is digest(that of level i - 1, name)
 *   unit        digest(DIGEST_UNIT, name): the first component that is not a slice, if the ones before
 *               it all are. Below it a user may have been given the right to make cgroups.
 *   executable  digest(device as MKDEV(major, minor) << 20 as the kernel counts it | DIGEST_FILE,
 *               last component), then each directory above it, up to the root of its file system
 *
 * Included by: sock_identity.h, spd_app.h, lib/app_identity.c.
 */
#ifndef IPSECBPF_APP_DIGEST_H
#define IPSECBPF_APP_DIGEST_H

#include <linux/types.h>

#define DIGEST_UNIT (1ull << 63)
#define DIGEST_FILE (1ull << 62)
#define DIGEST_PIECE 32		/* octets of a name that are read at once; a multiple of 8 */
#define DIGEST_NAME_MAX 255	/* octets: NAME_MAX */
#define DIGEST_DEPTH_MAX 64	/* components of an executable's path; deeper ones are not known */

struct app_digest {
	__u64 v0, v1, v2, v3;
	__u64 len;	/* octets of the name so far */
};

#define digest_inline static inline __attribute__((always_inline))

digest_inline __u64 digest_rotl(__u64 value, int bits)
{
	return value << bits | value >> (64 - bits);
}

digest_inline void digest_rounds(struct app_digest *digest, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		digest->v0 += digest->v1;
		digest->v1 = digest_rotl(digest->v1, 13) ^ digest->v0;
		digest->v0 = digest_rotl(digest->v0, 32);
		digest->v2 += digest->v3;
		digest->v3 = digest_rotl(digest->v3, 16) ^ digest->v2;
		digest->v0 += digest->v3;
		digest->v3 = digest_rotl(digest->v3, 21) ^ digest->v0;
		digest->v2 += digest->v1;
		digest->v1 = digest_rotl(digest->v1, 17) ^ digest->v2;
		digest->v2 = digest_rotl(digest->v2, 32);
	}
}

digest_inline void digest_word(struct app_digest *digest, __u64 word)
{
	digest->v3 ^= word;
	digest_rounds(digest, 2);
	digest->v0 ^= word;
}

/* `parent`: the digest that this one goes on from. */
digest_inline void digest_begin(struct app_digest *digest, const __u64 seed[2], __u64 parent)
{
	digest->v0 = seed[0] ^ 0x736f6d6570736575ull;
	digest->v1 = seed[1] ^ 0x646f72616e646f6dull;
	digest->v2 = seed[0] ^ 0x6c7967656e657261ull;
	digest->v3 = seed[1] ^ 0x7465646279746573ull;
	digest->len = 0;
	digest_word(digest, parent);
}

/* `len` octets of the name more, up to DIGEST_PIECE; those behind them, up to a multiple of 8, must be 0.
 * Only the last piece is shorter than DIGEST_PIECE. */
digest_inline void digest_piece(struct app_digest *digest, const void *piece, __u64 len)
{
	const __u64 *words = (const __u64 *)piece;

	for (__u64 i = 0; i < DIGEST_PIECE / 8 && i * 8 < len; i++)
		digest_word(digest, words[i]);
	digest->len += len;
}

/* Never 0, which stands for "nothing". */
digest_inline __u64 digest_end(struct app_digest *digest)
{
	__u64 value;

	digest_word(digest, digest->len << 56 | 8);
	digest->v2 ^= 0xff;
	digest_rounds(digest, 4);
	value = digest->v0 ^ digest->v1 ^ digest->v2 ^ digest->v3;
	return value ? value : 1;
}

#endif /* IPSECBPF_APP_DIGEST_H */
