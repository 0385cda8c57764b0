/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole ESP packets with AES-GCM and AES-GMAC: draft-mcgrew-gcm-test-01.
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_MCGREW_GCM_H
#define SELFTESTS_VECTORS_MCGREW_GCM_H

/* clang-format off */
static const struct suite_vector mcgrew_gcm_vectors[] = {
	{ "draft-mcgrew-gcm-test-01, first packet (ESN)", "aes128gcm16",
	  "4c80cdefbb5d10da906ac73c3613a634",
	  "2e443b684956ed7e3b244cfe", "000043218765432100000000",
	  "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000"
	  "00000000045f736970045f756470037369700963796265726369747902646b00"
	  "0021000101020201",
	  "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34"
	  "cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce"
	  "61bc17d768fd9732", "459018148f6cbe722fd04796562dfdb4" },
};

static const struct suite_vector mcgrew_gmac_vectors[] = {
	{ "draft-mcgrew-gcm-test-01, AES-GMAC", "aes128gmac",
	  "4c80cdefbb5d10da906ac73c3613a634",
	  "22433c640000000000000000", "0000432100000007",
	  "45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364"
	  "65666768696a6b6c6d6e6f707172737401020201",
	  "45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364"
	  "65666768696a6b6c6d6e6f707172737401020201", "f2a9a836e155106aa8dcd618e4099aaa" },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_MCGREW_GCM_H */
