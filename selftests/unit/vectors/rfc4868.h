/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HMAC-SHA-256-128, -384-192 and -512-256 with full keys: RFC 4868 section 2.7.2.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_RFC4868_H
#define SELFTESTS_VECTORS_RFC4868_H

/* clang-format off */
static const struct suite_vector rfc4868_vectors[] = {
	{ "RFC 4868 AUTH256-1", "null-sha256",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "", "",
	  "4869205468657265",
	  NULL, "198a607eb44bfbc69903a0f1cf2bbdc5" },
	{ "RFC 4868 AUTH256-2", "null-sha256",
	  "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
	  "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  NULL, "167f928588c5cc2eef8e3093caa0e87c" },
	{ "RFC 4868 AUTH256-3", "null-sha256",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd",
	  NULL, "cdcb1220d1ecccea91e53aba3092f962" },
	{ "RFC 4868 AUTH256-4", "null-sha256",
	  "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
	  "", "",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  NULL, "372efcf9b40b35c2115b1346903d2ef4" },
	{ "RFC 4868 AUTH384-1", "null-sha384",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "", "",
	  "4869205468657265",
	  NULL, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973" },
	{ "RFC 4868 AUTH384-2", "null-sha384",
	  "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665"
	  "4a6566654a6566654a6566654a656665",
	  "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  NULL, "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d" },
	{ "RFC 4868 AUTH384-3", "null-sha384",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd",
	  NULL, "809f439be00274321d4a538652164b53554a508184a0c316" },
	{ "RFC 4868 AUTH384-4", "null-sha384",
	  "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
	  "0a0b0c0d0e0f10111213141516171819",
	  "", "",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  NULL, "5b540085c6e6358096532b2493609ed1cb298f774f87bb5c" },
	{ "RFC 4868 AUTH512-1", "null-sha512",
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"
	  "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
	  "", "",
	  "4869205468657265",
	  NULL, "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8" },
	{ "RFC 4868 AUTH512-2", "null-sha512",
	  "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665"
	  "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
	  "", "",
	  "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  NULL, "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454" },
	{ "RFC 4868 AUTH512-3", "null-sha512",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "", "",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
	  "dddddddddddddddddddddddddddddddddddd",
	  NULL, "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8" },
	{ "RFC 4868 AUTH512-4", "null-sha512",
	  "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
	  "2122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40",
	  "", "",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  NULL, "5e6688e5a3daec826ca32eaea224eff5e700628947470e13ad01302561bab108" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_RFC4868_H */
