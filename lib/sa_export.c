// SPDX-License-Identifier: BSD-2-Clause
/*
 * SAs as lines of Wireshark's table esp_sa: protocol, src, dst, SPI, cipher, its key, MAC, its key;
 * and for 64-bit sequence numbers two columns that Wireshark has from 4.4 on and older ones skip.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ipsecbpf.h"

#define EXPORT_OBJECT	"sa export"
#define IKE_NATT_PORT	4500	/* Wireshark knows ESP in UDP by it (RFC 3948) */

/* One SA and what is written of it, keys included: wiped afterwards. */
struct line {
	char at[1024];
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) add(struct line *line, const char *format, ...)
{
	size_t room = sizeof(line->at) - line->len;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line->at + line->len, room, format, args);
	va_end(args);
	if (len > 0)
		line->len += (size_t)len < room ? (size_t)len : room - 1;
}

/* Wireshark's spelling; NULL: it has no such cipher. */
static const char *cipher_name(const struct esp_suite *suite)
{
	switch (suite->cipher) {
	case CIPHER_NULL:
		return "NULL";
	case CIPHER_AES_GCM:
		return suite->icv_len == 16 ? "AES-GCM with 16 octet ICV [RFC4106]" :
		       suite->icv_len == 12 ? "AES-GCM with 12 octet ICV [RFC4106]" :
					      "AES-GCM with 8 octet ICV [RFC4106]";
	case CIPHER_AES_CBC:
		return "AES-CBC [RFC3602]";
	case CIPHER_AES_CTR:
		return "AES-CTR [RFC3686]";
	case CIPHER_3DES_CBC:
		return "TripleDES-CBC [RFC2451]";
	case CIPHER_CHACHA20_POLY1305:
		return "ChaCha20 with Poly1305 [RFC7634]";
	case CIPHER_AES_GMAC:
		break;
	}
	return NULL;
}

static const char *mac_name(const struct esp_suite *suite)
{
	switch (suite->mac) {
	case MAC_HMAC_MD5:
		return "HMAC-MD5-96 [RFC2403]";
	case MAC_HMAC_SHA1:
		return "HMAC-SHA-1-96 [RFC2404]";
	case MAC_HMAC_SHA256:
		return "HMAC-SHA-256-128 [RFC4868]";
	case MAC_HMAC_SHA384:
		return "HMAC-SHA-384-192 [RFC4868]";
	case MAC_HMAC_SHA512:
		return "HMAC-SHA-512-256 [RFC4868]";
	case MAC_AES_XCBC:
	case MAC_AES_CMAC:
		return "ANY 96 bit authentication [no checking]";
	case MAC_NONE:
		break;
	}
	return "NULL";
}

/* Only some versions know it, and the others complain about the whole table. */
static bool is_new_to_wireshark(const struct esp_suite *suite)
{
	return suite->cipher == CIPHER_CHACHA20_POLY1305;
}

static bool mac_is_checked(const struct esp_suite *suite)
{
	return suite->mac != MAC_AES_XCBC && suite->mac != MAC_AES_CMAC;
}

static void add_key(struct line *line, const uint8_t *key, size_t len)
{
	add(line, ",\"%s", len ? "0x" : "");
	for (size_t i = 0; i < len; i++)
		add(line, "%02x", key[i]);
	add(line, "\"");
}

/* Why Wireshark cannot make anything of the SA's packets; NULL: it can. */
static const char *why_not(const struct sa_config *sa)
{
	if (sa->proto == IPPROTO_AH)
		return "Wireshark checks no AH";
	return cipher_name(suite_at(sa->suite)) ? NULL : "Wireshark cannot decrypt this suite";
}

static const char *name_of(const struct sa_config *sa)
{
	const struct esp_suite *suite = suite_at(sa->suite);

	return sa->proto == IPPROTO_AH ? suite->ah_name : suite->name;
}

/* What is to be known of an SA that is exported. */
static void add_remarks(struct line *line, const struct sa_config *sa)
{
	if (is_new_to_wireshark(suite_at(sa->suite)))
		add(line, "# %s, unknown to older versions: if yours knows it, take the # away.\n",
		    name_of(sa));
	if (!mac_is_checked(suite_at(sa->suite)))
		add(line, "# The ICV is not checked: Wireshark does not know %s.\n",
		    strrchr(name_of(sa), '-') + 1);
	if (sa->encap_dport && ntohs(sa->encap_sport) != IKE_NATT_PORT &&
	    ntohs(sa->encap_dport) != IKE_NATT_PORT)
		add(line, "# In UDP to port %u: decode that port as UDPENCAP.\n",
		    ntohs(sa->encap_dport));
}

static void add_sa(struct line *line, const struct sa_config *sa, size_t index)
{
	const struct esp_suite *suite = suite_at(sa->suite);
	int af = sa->family == FAMILY_V4 ? AF_INET : AF_INET6;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];
	const char *reason = why_not(sa);

	if (reason) {
		add(line, "# sas[%zu], %s: not exported: %s.\n", index, name_of(sa), reason);
		return;
	}
	add_remarks(line, sa);
	inet_ntop(af, sa->src.b, src, sizeof(src));
	inet_ntop(af, sa->dst.b, dst, sizeof(dst));
	add(line, "%s\"%s\",\"%s\",\"%s\"", is_new_to_wireshark(suite) ? "#" : "",
	    sa->family == FAMILY_V4 ? "IPv4" : "IPv6", src, dst);
	add(line, ",\"0x%08x\",\"%s\"", ntohl(sa->spi), cipher_name(suite));
	add_key(line, sa->key, (size_t)suite->key_len + suite->salt_len);
	add(line, ",\"%s\"", mac_name(suite));
	add_key(line, sa->mac_key, suite->mac_key_len);
	add(line, sa->esn ? ",\"64-bit\",\"0\"\n" : "\n");
}

static const char heading[] =
	"# ESP SAs with their keys, for Wireshark: the file esp_sa of its configuration profile.\n"
	"# Set esp.enable_encryption_decode and esp.enable_authentication_check to TRUE as well.\n"
	"# Lines that end in \"64-bit\",\"0\" have 64-bit sequence numbers. Before 4.4, Wireshark\n"
	"# decrypts these packets, but calls each ICV bad; later it wants the high half of the\n"
	"# numbers for \"0\".\n";

static bool write_lines(const struct sa_file *file, FILE *out)
{
	bool written = fputs(heading, out) >= 0;

	for (size_t i = 0; i < file->count && written; i++) {
		struct line line = { .len = 0 };

		add_sa(&line, &file->sas[i], i);
		written = fwrite(line.at, 1, line.len, out) == line.len;
		explicit_bzero(&line, sizeof(line));
	}
	return written && !fflush(out);
}

/* Each SA that is left out is named. */
static size_t count_exportable(const struct sa_file *file, struct ipsecbpf_report *report)
{
	size_t count = 0;

	for (size_t i = 0; i < file->count; i++) {
		const struct sa_config *sa = &file->sas[i];
		const char *reason = why_not(sa);

		if (reason)
			report_warning(report, EXPORT_OBJECT, NULL,
				       "sas[%zu], %s: not exported: %s", i, name_of(sa), reason);
		else if (is_new_to_wireshark(suite_at(sa->suite)))
			report_warning(report, EXPORT_OBJECT, "if yours knows it, take the # away",
				       "sas[%zu], %s: commented out: older versions of Wireshark do"
				       " not know it", i, name_of(sa));
		count += !reason;
	}
	return count;
}

int ipsecbpf_sa_export_wireshark(const struct sa_file *file, FILE *out,
				 struct ipsecbpf_report *report)
{
	if (!count_exportable(file, report)) {
		report_error(report, EXPORT_OBJECT, NULL, "no SA of the file is one that Wireshark"
			     " can decrypt");
		return -ENOTSUP;
	}
	if (write_lines(file, out))
		return 0;
	report_error(report, EXPORT_OBJECT, NULL, "could not be written: %s", strerror(errno));
	return -EIO;
}
