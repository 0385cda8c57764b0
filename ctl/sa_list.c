// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "verbs.h"

#define INDENT "     "	/* of what stands below an SA: past the column "dir" */

struct list_args {
	const char *ifname;
	bool stats;
};

static const struct operand_def list_operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct list_args, ifname) },
	OPERAND_END,
};

static const struct option_def list_options[] = {
	{ "stats", 's', OPT_FLAG, NULL,
	  "also show each SA's key, counters, lifetime, MTU and encapsulation",
	  offsetof(struct list_args, stats) },
	OPTION_END,
};

static const char *address_text(uint8_t family, const union wire_addr *addr,
				char out[INET6_ADDRSTRLEN])
{
	return inet_ntop(family == FAMILY_V6 ? AF_INET6 : AF_INET, addr->b, out,
			 INET6_ADDRSTRLEN);
}

static void show_address(const char *key, uint8_t family, const union wire_addr *addr)
{
	char text[INET6_ADDRSTRLEN];

	out_string(OUT_ANY, key, out_plain, address_text(family, addr, text));
}

/* `there`: which of the three exist. */
static void limits_json(const char *key, const struct sa_limits *limits,
			const struct sa_limits *there)
{
	const struct {
		const char *key;
		uint64_t value, there;
	} kinds[] = {
		{ "bytes", limits->bytes, there->bytes },
		{ "packets", limits->packets, there->packets },
		{ "seconds", limits->seconds, there->seconds },
	};

	out_object(key);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].there)
			out_uint(OUT_JSON, kinds[i].key, out_plain, kinds[i].value);
		else
			out_null(OUT_JSON, kinds[i].key, NULL);
	out_object_end();
}

static void show_encap(const struct ipsecbpf_sa_info *sa)
{
	char text[INET6_ADDRSTRLEN];

	if (!sa->encap_dport) {
		out_null(OUT_JSON, "encap", NULL);
	} else {
		out_object("encap");
		out_uint(OUT_JSON, "sport", out_plain, ntohs(sa->encap_sport));
		out_uint(OUT_JSON, "dport", out_plain, ntohs(sa->encap_dport));
		out_object_end();
	}
	if (!sa->moved_port) {
		out_null(OUT_JSON, "moved_to", NULL);
		return;
	}
	out_object("moved_to");
	out_string(OUT_JSON, "address", out_plain, address_text(sa->family, &sa->moved_to, text));
	out_uint(OUT_JSON, "port", out_plain, ntohs(sa->moved_port));
	out_object_end();
}

/* What only JSON has: the values of --stats. */
static void show_details(const struct ipsecbpf_sa_info *sa)
{
	out_string(OUT_JSON, "peer", out_plain, sa->peer);
	out_string(OUT_JSON, "fingerprint", out_plain, sa->fingerprint);
	out_bool(OUT_JSON, "esn", out_plain, sa->esn);
	out_bool(OUT_JSON, "nested", out_plain, sa->nested);
	out_uint(OUT_JSON, "replay_window", out_plain, sa->replay_window);
	out_uint(OUT_JSON, "slot", out_plain, sa->slot);
	out_uint(OUT_JSON, "inner_mtu", out_plain, sa->inner_mtu);
	out_uint(OUT_JSON, "path_mtu", out_plain, sa->path_mtu);
	if (sa->direction == SPD_OUT)
		out_bool(OUT_JSON, "active", out_plain, sa->active);
	out_uint(OUT_JSON, "seq", out_plain, sa->seq);
	out_uint(OUT_JSON, "icv_failed", out_plain, sa->icv_failed);
	out_uint(OUT_JSON, "replayed", out_plain, sa->replayed);
	out_uint(OUT_JSON, "lost", out_plain, sa->lost);
	out_uint(OUT_JSON, "age", out_plain, sa->age);
	if (sa->idle_ms == UINT64_MAX)
		out_null(OUT_JSON, "idle_ms", NULL);
	else
		out_uint(OUT_JSON, "idle_ms", out_plain, sa->idle_ms);
	out_object("limits");
	limits_json("soft", &sa->soft, &sa->soft);
	limits_json("hard", &sa->hard, &sa->hard);
	out_object_end();
	limits_json("left", &sa->left, &sa->hard);
	show_encap(sa);
}

/* A spare outbound SA waits for its turn; an inbound one is always ready. */
static const char *state_text(const struct ipsecbpf_sa_info *sa)
{
	if (sa->stage != STAGE_LIVE || sa->direction == SPD_IN)
		return sa_stage_name(sa->stage);
	return sa->active ? "active" : "spare";
}

static void span_lifetime(const struct ipsecbpf_sa_info *sa)
{
	char packets[40] = "", bytes[40] = "", seconds[40] = "";

	if (!sa->hard.packets && !sa->hard.bytes && !sa->hard.seconds)
		return;
	if (sa->hard.packets)
		snprintf(packets, sizeof(packets), "  packets %" PRIu64, sa->left.packets);
	if (sa->hard.bytes)
		snprintf(bytes, sizeof(bytes), "  bytes %" PRIu64, sa->left.bytes);
	if (sa->hard.seconds)
		snprintf(seconds, sizeof(seconds), "  seconds %" PRIu64, sa->left.seconds);
	out_span(INDENT "left%s%s%s", packets, bytes, seconds);
}

static void span_encap(const struct ipsecbpf_sa_info *sa)
{
	char address[INET6_ADDRSTRLEN], moved[INET6_ADDRSTRLEN + 40] = "";

	if (!sa->encap_dport)
		return;
	if (sa->moved_port)
		snprintf(moved, sizeof(moved), "  peer at %s port %u",
			 address_text(sa->family, &sa->moved_to, address), ntohs(sa->moved_port));
	out_span(INDENT "encap espinudp sport %u dport %u%s", ntohs(sa->encap_sport),
		 ntohs(sa->encap_dport), moved);
}

/* The same for people, below the SA's row. */
static void span_details(const struct ipsecbpf_sa_info *sa)
{
	char age[32], path_mtu[32] = "";

	out_span(INDENT "peer %s  key %s  %sreplay-window %u", sa->peer, sa->fingerprint,
		 sa->esn ? "esn  " : "", sa->replay_window);
	out_colour(sa->icv_failed ? COLOUR_WARN : COLOUR_NONE);
	out_span(INDENT "seq %" PRIu64 "  icv-failed %" PRIu64 "  replayed %" PRIu64
		 "  lost %" PRIu64, sa->seq, sa->icv_failed, sa->replayed, sa->lost);
	if (sa->path_mtu)
		snprintf(path_mtu, sizeof(path_mtu), "  path-mtu %u", sa->path_mtu);
	out_span(INDENT "age %s  inner-mtu %u%s", format_duration(sa->age * 1000, age, sizeof(age)),
		 sa->inner_mtu, path_mtu);
	span_lifetime(sa);
	span_encap(sa);
}

static void show_sa(const struct ipsecbpf_sa_info *sa, bool stats)
{
	char idle[32];

	out_object(NULL);
	out_string(OUT_ANY, "dir", out_plain, sa->direction == SPD_OUT ? "out" : "in");
	show_address("src", sa->family, &sa->src);
	show_address("dst", sa->family, &sa->dst);
	out_string(OUT_ANY, "proto", out_plain, sa->proto == IPPROTO_AH ? "ah" : "esp");
	out_uint(OUT_JSON, "spi", out_plain, ntohl(sa->spi));
	out_text("0x%08x", ntohl(sa->spi));
	out_string(OUT_ANY, "mode", out_plain, sa->tunnel ? "tunnel" : "transport");
	out_string(OUT_ANY, "suite", out_plain, sa->suite);
	out_string(OUT_ANY, "protection", out_plain, sa->protection);
	out_uint(OUT_ANY, "packets", out_plain, sa->packets);
	out_uint(OUT_ANY, "bytes", out_plain, sa->bytes);
	out_text("%s", format_duration(sa->idle_ms, idle, sizeof(idle)));
	out_string(OUT_JSON, "state", out_plain, sa_stage_name(sa->stage));
	out_colour(sa->stage == STAGE_DYING ? COLOUR_WARN : COLOUR_NONE);
	out_text("%s", state_text(sa));
	show_details(sa);
	out_object_end();
	out_row_end();
	if (stats)
		span_details(sa);
}

static int run_list(const void *data, struct ipsecbpf_report *report)
{
	static const char *const headings[] = {
		"dir", "src", "dst", "proto", "spi", "mode", "suite", "protection", "packets",
		"bytes", "idle", "state",
	};
	const struct list_args *args = data;
	struct ipsecbpf_sa_info *sas;
	size_t count;
	int err = ipsecbpf_sa_list(args->ifname, &sas, &count, report);

	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_JSON, "ifname", out_plain, args->ifname);
	out_array("sas");
	out_table(headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < count; i++)
		show_sa(&sas[i], args->stats);
	out_table_end();
	out_array_end();
	if (!count)
		out_text("%s: no SAs\n", args->ifname);
	free(sas);
	return EXIT_DONE;
}

const struct verb verb_sa_list = {
	.group = "sa",
	.name = "list",
	.summary = "list the SAs and how much they were used",
	.details = "An outbound SA is active, or spare while a newer one is used. Dying: a soft "
		   "limit is reached, or three quarters of the sequence numbers are used. "
		   "Pending: of a rotation that waits for the peer. Draining: replaced by a rotation, still "
		   "receiving. With -j everything is shown.",
	.operands = list_operands,
	.options = list_options,
	.args_size = sizeof(struct list_args),
	.run = run_list,
};
