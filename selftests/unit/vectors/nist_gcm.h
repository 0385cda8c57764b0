/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AES-GCM with an ICV of 96 bits: NIST CAVS, gcmEncryptExtIV128.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_NIST_GCM_H
#define SELFTESTS_VECTORS_NIST_GCM_H

/* clang-format off */
static const struct suite_vector nist_gcm_vectors[] = {
	{ "NIST gcmEncryptExtIV128, PT 128, AAD 160, tag 96", "aes128gcm12",
	  "70fb02388301f16c4193b0fc70683f3f",
	  "aec612be7c1ddb659a4b315c", "3859b3c9d0b42d45c43e8ebd4c8cbde1b6eb2106",
	  "68e6bc0b08b8adbdc00005ae44723c8e",
	  "a7c52a23b09062a1fb77d47ff83a114f", "79f91fa572220432ee3a6495" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_NIST_GCM_H */
