/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AES-CBC in ESP: RFC 3602 section 4.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_RFC3602_H
#define SELFTESTS_VECTORS_RFC3602_H

/* clang-format off */
static const struct suite_vector rfc3602_vectors[] = {
	{ "RFC 3602 case 1", "aes128-sha256", "06a9214036b8a15b512e03d534120006",
	  "3dafba429d9eb430b422da802c9fac41", "",
	  "53696e676c6520626c6f636b206d7367", "e353779c1079aeb82708942dbe77181a", NULL },
	{ "RFC 3602 case 2", "aes128-sha256", "c286696d887c9aa0611bbb3e2025a45a",
	  "562e17996d093d28ddb3ba695a2e6f58", "",
	  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	  "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1", NULL },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_RFC3602_H */
