/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AES-CMAC-96: RFC 4493 section 4, which RFC 4494 repeats cut to 96 bits.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_RFC4493_H
#define SELFTESTS_VECTORS_RFC4493_H

/* clang-format off */
static const struct suite_vector rfc4493_vectors[] = {
	{ "RFC 4493 example 1, RFC 4494 case 1", "null-aescmac",
	  "2b7e151628aed2a6abf7158809cf4f3c",
	  "", "",
	  "",
	  NULL, "bb1d6929e95937287fa37d129b756746" },
	{ "RFC 4493 example 2, RFC 4494 case 2", "null-aescmac",
	  "2b7e151628aed2a6abf7158809cf4f3c",
	  "", "",
	  "6bc1bee22e409f96e93d7e117393172a",
	  NULL, "070a16b46b4d4144f79bdd9dd04a287c" },
	{ "RFC 4493 example 3, RFC 4494 case 3", "null-aescmac",
	  "2b7e151628aed2a6abf7158809cf4f3c",
	  "", "",
	  "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
	  "30c81c46a35ce411",
	  NULL, "dfa66747de9ae63030ca32611497c827" },
	{ "RFC 4493 example 4, RFC 4494 case 4", "null-aescmac",
	  "2b7e151628aed2a6abf7158809cf4f3c",
	  "", "",
	  "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
	  "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
	  NULL, "51f0bebf7e3b9d92fc49741779363cfe" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_RFC4493_H */
