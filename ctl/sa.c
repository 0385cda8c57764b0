// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "output.h"
#include "verbs.h"

struct sa_args {
	const char *ifname, *file;
	bool fresh;
};

static const struct operand_def apply_operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct sa_args, ifname) },
	{ "FILE", OPERAND_FILE, offsetof(struct sa_args, file) },
	OPERAND_END,
};

static const struct option_def apply_options[] = {
	{ "fresh", 0, OPT_FLAG, NULL,
	  "declare the outbound keys in FILE never used before, on any host",
	  offsetof(struct sa_args, fresh) },
	OPTION_END,
};

static int run_apply(const void *data, struct ipsecbpf_report *report)
{
	const struct sa_args *args = data;
	struct ipsecbpf_sa_result result;
	struct sa_file *file = sa_file_load(args->file, report);
	int err;

	if (!file)
		return exit_code(-errno, args->file, report);
	err = ipsecbpf_sa_apply(args->ifname, file, args->fresh ? SA_APPLY_FRESH : 0, &result,
				report);
	sa_file_free(file);
	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_uint(OUT_ANY, "added", "SAs: %" PRIu64 " added, ", result.added);
	out_uint(OUT_ANY, "unchanged", "%" PRIu64 " unchanged\n", result.unchanged);
	return EXIT_DONE;
}

static void show_address(const char *key, uint8_t family, const union wire_addr *addr)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(family == FAMILY_V6 ? AF_INET6 : AF_INET, addr->b, text, sizeof(text));
	out_string(OUT_ANY, key, out_plain, text);
}

static void show_use(const struct ipsecbpf_sa_info *sa)
{
	char idle[32];

	out_uint(OUT_ANY, "seq", out_plain, sa->seq);
	out_uint(OUT_ANY, "packets", out_plain, sa->packets);
	out_uint(OUT_ANY, "bytes", out_plain, sa->bytes);
	out_colour(sa->icv_failed ? COLOUR_WARN : COLOUR_NONE);
	out_uint(OUT_ANY, "icv_failed", out_plain, sa->icv_failed);
	out_uint(OUT_ANY, "replayed", out_plain, sa->replayed);
	if (sa->idle_ms == UINT64_MAX)
		out_null(OUT_JSON, "idle_ms", NULL);
	else
		out_uint(OUT_JSON, "idle_ms", out_plain, sa->idle_ms);
	out_text("%s", format_duration(sa->idle_ms, idle, sizeof(idle)));
}

static void show_sa(const struct ipsecbpf_sa_info *sa)
{
	bool outbound = sa->direction == SPD_OUT;

	out_object(NULL);
	out_string(OUT_ANY, "dir", out_plain, outbound ? "out" : "in");
	show_address("src", sa->family, &sa->src);
	show_address("dst", sa->family, &sa->dst);
	out_string(OUT_ANY, "proto", out_plain, sa->proto == IPPROTO_AH ? "ah" : "esp");
	out_uint(OUT_JSON, "spi", out_plain, ntohl(sa->spi));
	out_text("0x%08x", ntohl(sa->spi));
	out_string(OUT_ANY, "mode", out_plain, sa->tunnel ? "tunnel" : "transport");
	out_string(OUT_ANY, "suite", out_plain, sa->suite);
	out_string(OUT_ANY, "peer", out_plain, sa->peer);
	out_string(OUT_ANY, "protection", out_plain, sa->protection);
	out_bool(OUT_JSON, "esn", out_plain, sa->esn);
	out_uint(OUT_JSON, "replay_window", out_plain, sa->replay_window);
	out_uint(OUT_JSON, "slot", out_plain, sa->slot);
	out_uint(OUT_JSON, "inner_mtu", out_plain, sa->inner_mtu);
	out_string(OUT_ANY, "fingerprint", out_plain, sa->fingerprint);
	if (outbound)
		out_bool(OUT_JSON, "active", out_plain, sa->active);
	show_use(sa);
	/* A spare outbound SA waits for its turn; an inbound one is always ready. */
	out_text("%s", !outbound ? "-" : sa->active ? "active" : "spare");
	out_object_end();
	out_row_end();
}

static int run_list(const void *data, struct ipsecbpf_report *report)
{
	static const char *const headings[] = {
		"dir", "src", "dst", "proto", "spi", "mode", "suite", "peer", "protection", "key",
		"seq", "packets", "bytes", "icv-failed", "replayed", "idle", "state",
	};
	const struct ifname_args *args = data;
	struct ipsecbpf_sa_info *sas;
	size_t count;
	int err = ipsecbpf_sa_list(args->ifname, &sas, &count, report);

	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_JSON, "ifname", out_plain, args->ifname);
	out_array("sas");
	out_table(headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < count; i++)
		show_sa(&sas[i]);
	out_table_end();
	out_array_end();
	if (!count)
		out_text("%s: no SAs\n", args->ifname);
	free(sas);
	return EXIT_DONE;
}

static int run_flush(const void *data, struct ipsecbpf_report *report)
{
	const struct ifname_args *args = data;
	uint32_t removed;
	int err = ipsecbpf_sa_flush(args->ifname, &removed, report);

	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_uint(OUT_ANY, "removed", "SAs: %" PRIu64 " removed\n", removed);
	return EXIT_DONE;
}

const struct verb verb_sa_apply = {
	.group = "sa",
	.name = "apply",
	.summary = "install the SAs of a file",
	.details = "The file must belong to root or the caller and have mode 0600 or stricter. "
		   "The same file serves both hosts: which SA is inbound follows from the "
		   "addresses.",
	.operands = apply_operands,
	.options = apply_options,
	.args_size = sizeof(struct sa_args),
	.run = run_apply,
};

const struct verb verb_sa_list = {
	.group = "sa",
	.name = "list",
	.summary = "list the SAs, with use and fingerprint of the key",
	.operands = ifname_operand,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run_list,
};

const struct verb verb_sa_flush = {
	.group = "sa", .name = "flush", .summary = "remove all SAs",
	.details = "Traffic that the policy protects is dropped until there are SAs again.",
	.operands = ifname_operand, .options = no_options,
	.args_size = sizeof(struct ifname_args), .run = run_flush,
};
