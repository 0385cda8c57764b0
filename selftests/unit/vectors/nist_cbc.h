/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AES-CBC with longer keys: NIST SP 800-38A appendix F.2.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_NIST_CBC_H
#define SELFTESTS_VECTORS_NIST_CBC_H

/* clang-format off */
static const struct suite_vector nist_cbc_vectors[] = {
	{ "NIST SP 800-38A F.2.3", "aes192-sha256",
	  "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
	  "000102030405060708090a0b0c0d0e0f", "",
	  "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
	  "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
	  "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
	  "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd", NULL },
	{ "NIST SP 800-38A F.2.5", "aes256-sha256",
	  "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
	  "000102030405060708090a0b0c0d0e0f", "",
	  "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
	  "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
	  "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
	  "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b", NULL },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_NIST_CBC_H */
