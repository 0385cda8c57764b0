/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AES-XCBC-MAC-96: RFC 3566 section 4; RFC 4434 repeats the fourth for keys of 16 octets.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_RFC3566_H
#define SELFTESTS_VECTORS_RFC3566_H

/* clang-format off */
#define ZEROS_20 "0000000000000000000000000000000000000000"
#define ZEROS_200 ZEROS_20 ZEROS_20 ZEROS_20 ZEROS_20 ZEROS_20 \
	ZEROS_20 ZEROS_20 ZEROS_20 ZEROS_20 ZEROS_20
#define ZEROS_1000 ZEROS_200 ZEROS_200 ZEROS_200 ZEROS_200 ZEROS_200

static const struct suite_vector rfc3566_vectors[] = {
	{ "RFC 3566 case 1", "null-aesxcbc",
	  "000102030405060708090a0b0c0d0e0f",
	  "", "",
	  "",
	  NULL, "75f0251d528ac01c4573dfd584d79f29" },
	{ "RFC 3566 case 2", "null-aesxcbc",
	  "000102030405060708090a0b0c0d0e0f",
	  "", "",
	  "000102",
	  NULL, "5b376580ae2f19afe7219ceef172756f" },
	{ "RFC 3566 case 3", "null-aesxcbc",
	  "000102030405060708090a0b0c0d0e0f",
	  "", "",
	  "000102030405060708090a0b0c0d0e0f",
	  NULL, "d2a246fa349b68a79998a4394ff7a263" },
	{ "RFC 3566 case 4, RFC 4434", "null-aesxcbc",
	  "000102030405060708090a0b0c0d0e0f",
	  "", "",
	  "000102030405060708090a0b0c0d0e0f10111213",
	  NULL, "47f51b4564966215b8985c63055ed308" },
	{ "RFC 3566 case 5", "null-aesxcbc",
	  "000102030405060708090a0b0c0d0e0f",
	  "", "",
	  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	  NULL, "f54f0ec8d2b9f3d36807734bd5283fd4" },
	{ "RFC 3566 case 6", "null-aesxcbc",
	  "000102030405060708090a0b0c0d0e0f",
	  "", "",
	  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	  "2021",
	  NULL, "becbb3bccdb518a30677d5481fb6b4d8" },
	{ "RFC 3566 case 7", "null-aesxcbc",
	  "000102030405060708090a0b0c0d0e0f",
	  "", "",
	  ZEROS_1000,
	  NULL, "f0dafee895db30253761103b5d84528f" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_RFC3566_H */
