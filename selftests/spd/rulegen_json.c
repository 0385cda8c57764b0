// SPDX-License-Identifier: BSD-2-Clause
/* A rule set as a policy file (schemas/policy.schema.json). */
#include <errno.h>

#include "lib/policy.h"
#include "rulegen_internal.h"

static const struct {
	const char *name, *definition;
} protections[GEN_PROTECTION_COUNT] = {
	[GEN_TRANSPORT] = { "wire", "{}" },
	[GEN_AUTHENTICATION] = { "seal", "{\"type\":\"authentication\"}" },
	[GEN_TUNNEL] = { "vpn", "{\"mode\":\"tunnel\"}" },
};

static const char *const actions[SPD_ACTION_COUNT] = {
#define X(id, word) [SPD_##id] = word,
	SPD_ACTIONS(X)
#undef X
};

/* Only those that rules name: others would be warned of. */
static void write_protections(const struct gen_set *set, FILE *out)
{
	bool used[GEN_PROTECTION_COUNT] = { false };
	const char *comma = "";

	for (size_t i = 0; i < set->count; i++)
		if (set->rules[i].action == SPD_PROTECT)
			used[set->rules[i].protection] = true;
	fputs("\"protections\":{", out);
	for (size_t i = 0; i < GEN_PROTECTION_COUNT; i++) {
		if (!used[i])
			continue;
		fprintf(out, "%s\"%s\":%s", comma, protections[i].name, protections[i].definition);
		comma = ",";
	}
	fputs("},\n", out);
}

static void write_address(enum ip_family family, struct addr128 lo, struct addr128 hi, FILE *out)
{
	struct address_range range = { .family = (uint8_t)family, .lo = lo, .hi = hi };
	char text[100];

	address_format(&range, text, sizeof(text));
	fprintf(out, "\"%s\"", text);
}

static void write_peers(const struct gen_set *set, FILE *out)
{
	fputs("\"peers\":{", out);
	for (size_t i = 0; i < set->peer_count; i++) {
		fprintf(out, "%s\n \"p%zu\":{\"addresses\":[", i ? "," : "", i + 1);
		write_address(set->options.family, set->peers[i], set->peers[i], out);
		fputs("]}", out);
	}
	fputs("},\n", out);
}

static void write_side(const char *key, enum ip_family family, struct addr128 lo, struct addr128 hi,
		       FILE *out)
{
	if (!gen_to_number(lo) && gen_to_number(hi) == gen_host_mask(family, 0))
		return;
	fprintf(out, ",\"%s\":", key);
	write_address(family, lo, hi, out);
}

static void write_span(const char *key, struct gen_span span, struct gen_span any, FILE *out)
{
	if (span.lo == any.lo && span.hi == any.hi)
		return;
	if (span.lo == span.hi)
		fprintf(out, ",\"%s\":%u", key, span.lo);
	else
		fprintf(out, ",\"%s\":\"%u-%u\"", key, span.lo, span.hi);
}

static void write_rule(const struct gen_set *set, const struct gen_rule *rule, FILE *out)
{
	const struct gen_selector *selector = &rule->selector;
	bool icmp = selector->proto.lo == selector->proto.hi &&
		    (selector->proto.lo == PROTO_OF_ICMP || selector->proto.lo == PROTO_OF_ICMPV6);

	fprintf(out, " {\"name\":\"%s\"", rule->name);
	write_side("remote", set->options.family, selector->remote_lo, selector->remote_hi, out);
	write_side("local", set->options.family, selector->local_lo, selector->local_hi, out);
	write_span("protocol", selector->proto, ANY_PROTO, out);
	write_span(icmp ? "icmp_type" : "local_port", selector->local_port, ANY_PORT, out);
	write_span(icmp ? "icmp_code" : "remote_port", selector->remote_port, ANY_PORT, out);
	write_span("vlan", selector->vlan, ANY_VLAN, out);
	write_span("dscp", selector->dscp, ANY_DSCP, out);
	fprintf(out, ",\"action\":\"%s\"", actions[rule->action]);
	if (rule->action == SPD_PROTECT)
		fprintf(out, ",\"peer\":\"p%u\",\"protection\":\"%s\"", rule->peer + 1,
			protections[rule->protection].name);
	fputs("}", out);
}

int gen_set_write_policy(const struct gen_set *set, FILE *out)
{
	if (set->options.flags & GEN_UNREACHABLE)
		return -EINVAL;
	fprintf(out, "{\"version\":1,\"description\":\"%s, IPv%d, seed %llu\",\n",
		gen_kind_words[set->options.kind], set->options.family == FAMILY_V4 ? 4 : 6,
		(unsigned long long)set->options.seed);
	fputs("\"bypass_essential\":[\"arp\",\"nd\",\"mld\",\"dhcp\",\"ike\"],\n"
	      "\"defaults\":{\"in\":\"discard\",\"out\":\"discard\",\"non_ip\":\"discard\"},\n",
	      out);
	write_protections(set, out);
	write_peers(set, out);
	fputs("\"rules\":[\n", out);
	for (size_t i = 0; i < set->count; i++) {
		write_rule(set, &set->rules[i], out);
		fputs(i + 1 < set->count ? ",\n" : "\n", out);
	}
	fputs("]}\n", out);
	return fflush(out) || ferror(out) ? -EIO : 0;
}
