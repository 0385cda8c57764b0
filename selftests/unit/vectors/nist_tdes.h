/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 3DES-CBC: NIST CAVS 11.1, TCBCMMT3 (multi-block message test).
 * Included by: vectors.h.
 */
#ifndef SELFTESTS_VECTORS_NIST_TDES_H
#define SELFTESTS_VECTORS_NIST_TDES_H

/* clang-format off */
static const struct suite_vector nist_tdes_vectors[] = {
	{ "NIST TCBCMMT3 encrypt 0", "3des-sha256",
	  "b5cb1504802326c73df186e3e352a20de643b0d63ee30e37",
	  "43f791134c5647ba", "",
	  "dcc153cef81d6f24",
	  "92538bd8af18d3ba", NULL },
	{ "NIST TCBCMMT3 encrypt 1", "3des-sha256",
	  "a49d7564199e97cb529d2c9d97bf2f98d35edf57ba1f7358",
	  "c2e999cb6249023c", "",
	  "c689aee38a301bb316da75db36f110b5",
	  "e9afaba5ec75ea1bbe65506655bb4ecb", NULL },
	{ "NIST TCBCMMT3 encrypt 2", "3des-sha256",
	  "1a5d4c0825072a15a8ad9dfdaeda8c048adffb85bc4fced0",
	  "7fcfa736f7548b6f", "",
	  "983c3edacd939406010e1bc6ff9e12320ac5008117fa8f84",
	  "d84fa24f38cf451ca2c9adc960120bd8ff9871584fe31cee", NULL },
	{ "NIST TCBCMMT3 encrypt 9", "3des-sha256",
	  "9b162a0df8ad9b61c88676e3d586434570b902f12a2046e0",
	  "ebd6fefe029ad54b", "",
	  "f4c1c918e77355c8156f0fd778da52bff121ae5f2f44eaf4d2754946d0e10d1f"
	  "18ce3a0176e69c18b7d20b6e0d0bee5eb5edfe4bd60e4d92adcd86bce72e76f9"
	  "4ee5cbcaa8b01cfddcea2ade575e66ac",
	  "1ff3c8709f403a8eff291aedf50c010df5c5ff64a8b205f1fce68564798897a3"
	  "90db16ee0d053856b75898009731da290fcc119dad987277aacef694872e880c"
	  "4bb41471063fae05c89f25e4bd0cad6a", NULL },
	{ "NIST TCBCMMT3 decrypt 0", "3des-sha256",
	  "5eb6040d46082c7aa7d06dfd08dfeac8c18364c1548c3ba1",
	  "41746c7e442d3681", "",
	  "d4f00eb455de1034",
	  "c53a7b0ec40600fe", NULL },
	{ "NIST TCBCMMT3 decrypt 3", "3des-sha256",
	  "86838c6815c25b975bdc10f4b95145e649fdefdcf4754ab9",
	  "4b1992ad38b4d6dd", "",
	  "f5f94e406cec1b85e9a7c076b95456b6a439921591abbfc381d0bbf363ff5c04",
	  "cb78b6deaca11379094341f5c2cfb977bba8259482341f0a32323cae974e49a6", NULL },
};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_NIST_TDES_H */
