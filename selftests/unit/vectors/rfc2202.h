/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HMAC-MD5 and HMAC-SHA-1: RFC 2202, the cases whose key is no longer than the suites'.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_RFC2202_H
#define SELFTESTS_VECTORS_RFC2202_H

/* clang-format off */
static const struct suite_vector rfc2202_vectors[] = {
	{ "RFC 2202 HMAC-MD5 case 1", "null-md5",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "", "",
	  "4869205468657265",
	  NULL, "9294727a3638bb1c13f48ef8158bfc9d" },
	{ "RFC 2202 HMAC-MD5 case 2", "null-md5",
	  "4a656665",
	  "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  NULL, "750c783e6ab0b503eaa86e310a5db738" },
	{ "RFC 2202 HMAC-MD5 case 3", "null-md5",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd",
	  NULL, "56be34521d144c88dbb8c733f0e8b3f6" },
	{ "RFC 2202 HMAC-MD5 case 5", "null-md5",
	  "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
	  "", "",
	  "546573742057697468205472756e636174696f6e",
	  NULL, "56461ef2342edc00f9bab995690efd4c" },
	{ "RFC 2202 HMAC-SHA1 case 1", "null-sha1",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "", "",
	  "4869205468657265",
	  NULL, "b617318655057264e28bc0b6fb378c8ef146be00" },
	{ "RFC 2202 HMAC-SHA1 case 2", "null-sha1",
	  "4a656665",
	  "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  NULL, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79" },
	{ "RFC 2202 HMAC-SHA1 case 3", "null-sha1",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd",
	  NULL, "125d7342b9ac11cd91a39af48aa17b4f63f175d3" },
	{ "RFC 2202 HMAC-SHA1 case 5", "null-sha1",
	  "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c",
	  "", "",
	  "546573742057697468205472756e636174696f6e",
	  NULL, "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_RFC2202_H */
