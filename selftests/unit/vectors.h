/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Published test vectors of the suites' algorithms, as hex. Included by: test_crypto.c.
 * For AEADs `nonce` is salt and IV together; for CBC it is the IV.
 */
#ifndef SELFTESTS_VECTORS_H
#define SELFTESTS_VECTORS_H

struct suite_vector {
	const char *source;
	const char *suite;
	const char *key, *nonce, *aad;
	const char *plain, *cipher, *icv;
};

/* clang-format off */
#define GCM_SPEC_PLAIN \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" \
	"1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define GCM_SPEC_AAD "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define GCM_SPEC_NONCE "cafebabefacedbaddecaf888"

static const struct suite_vector aead_vectors[] = {
	{ "draft-mcgrew-gcm-test-01, first packet (ESN)", "aes128gcm16",
	  "4c80cdefbb5d10da906ac73c3613a634", "2e443b684956ed7e3b244cfe", "000043218765432100000000",
	  "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000"
	  "00000000045f736970045f756470037369700963796265726369747902646b00"
	  "0021000101020201",
	  "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34"
	  "cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce"
	  "61bc17d768fd9732", "459018148f6cbe722fd04796562dfdb4" },
	{ "GCM specification, test case 4", "aes128gcm16", "feffe9928665731c6d6a8f9467308308",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD, GCM_SPEC_PLAIN,
	  "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
	  "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
	  "5bc94fbc3221a5db94fae95ae7121a47" },
	{ "GCM specification, test case 10", "aes192gcm16",
	  "feffe9928665731c6d6a8f9467308308feffe9928665731c",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD, GCM_SPEC_PLAIN,
	  "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c"
	  "7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
	  "2519498e80f1478f37ba55bd6d27618c" },
	{ "GCM specification, test case 16", "aes256gcm16",
	  "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	  GCM_SPEC_NONCE, GCM_SPEC_AAD, GCM_SPEC_PLAIN,
	  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
	  "76fc6ece0f4e1768cddf8853bb2d551b" },
	{ "RFC 7634 appendix A", "chacha20poly1305",
	  "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
	  "a0a1a2a31011121314151617", "0102030400000005",
	  "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
	  "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
	  "2425262728292a2b2c2d2e2f303132333435363701020204",
	  "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6"
	  "14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3"
	  "cbec163fac469b502773f6fb94e664da9165b82829f641e0",
	  "76aaa8266b7fb0f7b11b369907e1ad43" },
};

/* The MAC of these is checked against an independent HMAC, as RFC 3602 has ciphers only. */
static const struct suite_vector cbc_vectors[] = {
	{ "RFC 3602 case 1", "aes128-sha256", "06a9214036b8a15b512e03d534120006",
	  "3dafba429d9eb430b422da802c9fac41", "",
	  "53696e676c6520626c6f636b206d7367", "e353779c1079aeb82708942dbe77181a", NULL },
	{ "RFC 3602 case 2", "aes128-sha256", "c286696d887c9aa0611bbb3e2025a45a",
	  "562e17996d093d28ddb3ba695a2e6f58", "",
	  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	  "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1", NULL },
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

/* key is the MAC key; plain is what is authenticated. */
static const struct suite_vector mac_vectors[] = {
	{ "RFC 4868 AUTH256-1", "null-sha256",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
	  "4869205468657265", NULL, "198a607eb44bfbc69903a0f1cf2bbdc5" },
	{ "RFC 4868 AUTH256-2", "null-sha256",
	  "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665", "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f", NULL,
	  "167f928588c5cc2eef8e3093caa0e87c" },
	{ "RFC 4868 AUTH256-3", "null-sha256",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd", NULL, "cdcb1220d1ecccea91e53aba3092f962" },
	{ "RFC 4868 AUTH256-4", "null-sha256",
	  "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20", "", "",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd", NULL, "372efcf9b40b35c2115b1346903d2ef4" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_H */
