/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HMAC-SHA-2: RFC 4231, the cases whose key is no longer than the suites'.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_RFC4231_H
#define SELFTESTS_VECTORS_RFC4231_H

/* clang-format off */
static const struct suite_vector rfc4231_vectors[] = {
	{ "RFC 4231 HMAC-SHA-256 case 1", "null-sha256",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "", "",
	  "4869205468657265",
	  NULL, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
	{ "RFC 4231 HMAC-SHA-256 case 2", "null-sha256",
	  "4a656665",
	  "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  NULL, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	{ "RFC 4231 HMAC-SHA-256 case 3", "null-sha256",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd",
	  NULL, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
	{ "RFC 4231 HMAC-SHA-256 case 4", "null-sha256",
	  "0102030405060708090a0b0c0d0e0f10111213141516171819",
	  "", "",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  NULL, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
	{ "RFC 4231 HMAC-SHA-256 case 5", "null-sha256",
	  "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
	  "", "",
	  "546573742057697468205472756e636174696f6e",
	  NULL, "a3b6167473100ee06e0c796c2955552b" },
	{ "RFC 4231 HMAC-SHA-384 case 1", "null-sha384",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "", "",
	  "4869205468657265",
	  NULL, "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c"
	  "faea9ea9076ede7f4af152e8b2fa9cb6" },
	{ "RFC 4231 HMAC-SHA-384 case 2", "null-sha384",
	  "4a656665",
	  "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  NULL, "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
	  "8e2240ca5e69e2c78b3239ecfab21649" },
	{ "RFC 4231 HMAC-SHA-384 case 3", "null-sha384",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd",
	  NULL, "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b"
	  "2a5ab39dc13814b94e3ab6e101a34f27" },
	{ "RFC 4231 HMAC-SHA-384 case 4", "null-sha384",
	  "0102030405060708090a0b0c0d0e0f10111213141516171819",
	  "", "",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  NULL, "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e"
	  "6801dd23c4a7d679ccf8a386c674cffb" },
	{ "RFC 4231 HMAC-SHA-384 case 5", "null-sha384",
	  "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
	  "", "",
	  "546573742057697468205472756e636174696f6e",
	  NULL, "3abf34c3503b2a23a46efc619baef897" },
	{ "RFC 4231 HMAC-SHA-512 case 1", "null-sha512",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "", "",
	  "4869205468657265",
	  NULL, "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
	  "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854" },
	{ "RFC 4231 HMAC-SHA-512 case 2", "null-sha512",
	  "4a656665",
	  "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  NULL, "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
	  "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737" },
	{ "RFC 4231 HMAC-SHA-512 case 3", "null-sha512",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd",
	  NULL, "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
	  "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb" },
	{ "RFC 4231 HMAC-SHA-512 case 4", "null-sha512",
	  "0102030405060708090a0b0c0d0e0f10111213141516171819",
	  "", "",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  NULL, "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db"
	  "a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd" },
	{ "RFC 4231 HMAC-SHA-512 case 5", "null-sha512",
	  "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
	  "", "",
	  "546573742057697468205472756e636174696f6e",
	  NULL, "415fad6271580a531d4179bc891d87a6" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_RFC4231_H */
