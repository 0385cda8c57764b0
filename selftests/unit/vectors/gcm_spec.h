/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AES-GCM: the proposal to NIST (McGrew, Viega), appendix B; SP 800-38D 7.1 cuts the ICV.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_GCM_SPEC_H
#define SELFTESTS_VECTORS_GCM_SPEC_H

/* clang-format off */
#define GCM_SPEC_PLAIN \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" \
	"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define GCM_SPEC_AAD "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define GCM_SPEC_NONCE "cafebabefacedbaddecaf888"

static const struct suite_vector gcm_spec_vectors[] = {
	{ "GCM specification, test case 4", "aes128gcm16",
	  "feffe9928665731c6d6a8f9467308308",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
	  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091", "5bc94fbc3221a5db94fae95ae7121a47" },
	{ "GCM specification, test case 10", "aes192gcm16",
	  "feffe9928665731c6d6a8f9467308308feffe9928665731c",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c"
	  "7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710", "2519498e80f1478f37ba55bd6d27618c" },
	{ "GCM specification, test case 16", "aes256gcm16",
	  "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662", "76fc6ece0f4e1768cddf8853bb2d551b" },
	{ "GCM specification, test case 4, ICV of 12 octets", "aes128gcm12",
	  "feffe9928665731c6d6a8f9467308308",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
	  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091", "5bc94fbc3221a5db94fae95a" },
	{ "GCM specification, test case 10, ICV of 12 octets", "aes192gcm12",
	  "feffe9928665731c6d6a8f9467308308feffe9928665731c",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c"
	  "7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710", "2519498e80f1478f37ba55bd" },
	{ "GCM specification, test case 16, ICV of 12 octets", "aes256gcm12",
	  "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662", "76fc6ece0f4e1768cddf8853" },
	{ "GCM specification, test case 4, ICV of 8 octets", "aes128gcm8",
	  "feffe9928665731c6d6a8f9467308308",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
	  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091", "5bc94fbc3221a5db" },
	{ "GCM specification, test case 10, ICV of 8 octets", "aes192gcm8",
	  "feffe9928665731c6d6a8f9467308308feffe9928665731c",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c"
	  "7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710", "2519498e80f1478f" },
	{ "GCM specification, test case 16, ICV of 8 octets", "aes256gcm8",
	  "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD,
	  GCM_SPEC_PLAIN,
	  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662", "76fc6ece0f4e1768" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_GCM_SPEC_H */
