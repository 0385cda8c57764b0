// SPDX-License-Identifier: BSD-2-Clause
/* SAs are installed, exchanged and removed; sa_list.c shows them. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>

#include "output.h"
#include "verbs.h"

struct sa_args {
	const char *ifname, *file;
	bool fresh;
	uint32_t switch_after, drain;
};

static const struct operand_def apply_operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct sa_args, ifname) },
	{ "FILE", OPERAND_FILE, offsetof(struct sa_args, file) },
	OPERAND_END,
};

#define FRESH_OPTION								\
	{ "fresh", 0, OPT_FLAG, NULL,						\
	  "declare the outbound keys in FILE never used before, on any host",	\
	  offsetof(struct sa_args, fresh) }
#define SECONDS_MAX 86400

static const struct option_def apply_options[] = {
	FRESH_OPTION,
	OPTION_END,
};

static const struct option_def rotate_options[] = {
	FRESH_OPTION,
	{ "switch-after", 0, OPT_UINT, "SECONDS",
	  "send by the new SAs after this time at the latest (default: 10)",
	  offsetof(struct sa_args, switch_after), 1, SECONDS_MAX },
	{ "drain", 0, OPT_UINT, "SECONDS",
	  "receive by the old SAs as long as this after the switch (default: 60)",
	  offsetof(struct sa_args, drain), 1, SECONDS_MAX },
	OPTION_END,
};

static int load_and(const struct sa_args *args, struct ipsecbpf_report *report,
		    int (*install)(const struct sa_args *args, const struct sa_file *file,
				   struct ipsecbpf_sa_result *ret_result,
				   struct ipsecbpf_report *report))
{
	struct ipsecbpf_sa_result result;
	struct sa_file *file = sa_file_load(args->file, report);
	int err;

	if (!file)
		return exit_code(-errno, args->file, report);
	err = install(args, file, &result, report);
	sa_file_free(file);
	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_uint(OUT_ANY, "added", "SAs: %" PRIu64 " added, ", result.added);
	out_uint(OUT_ANY, "unchanged", "%" PRIu64 " unchanged\n", result.unchanged);
	return EXIT_DONE;
}

static int apply(const struct sa_args *args, const struct sa_file *file,
		 struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report)
{
	return ipsecbpf_sa_apply(args->ifname, file, args->fresh ? SA_APPLY_FRESH : 0, ret_result,
				 report);
}

static int rotate(const struct sa_args *args, const struct sa_file *file,
		  struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report)
{
	const struct ipsecbpf_sa_rotate_opts opts = {
		.sz = sizeof(opts), .flags = args->fresh ? SA_APPLY_FRESH : 0,
		.switch_after = args->switch_after, .drain = args->drain,
	};

	return ipsecbpf_sa_rotate(args->ifname, file, &opts, ret_result, report);
}

static int run_apply(const void *data, struct ipsecbpf_report *report)
{
	return load_and(data, report, apply);
}

static int run_rotate(const void *data, struct ipsecbpf_report *report)
{
	return load_and(data, report, rotate);
}

/* ---- delete and flush ---------------------------------------------------------------------- */

struct delete_args {
	const char *ifname, *dst;
	uint32_t spi;
	unsigned int proto;
};

static const struct operand_def delete_operands[] = {
	{ "IFNAME", OPERAND_IFNAME, offsetof(struct delete_args, ifname) },
	OPERAND_END,
};

static const char *proto_word(size_t index)
{
	static const char *const words[] = { "esp", "ah" };

	return index < sizeof(words) / sizeof(words[0]) ? words[index] : NULL;
}

static const struct option_def delete_options[] = {
	{ "dst", 0, OPT_STRING, "ADDRESS", "the SA's destination",
	  offsetof(struct delete_args, dst), .required = true },
	{ "spi", 0, OPT_UINT, "SPI", "the SA's SPI", offsetof(struct delete_args, spi), 256,
	  UINT32_MAX, .required = true },
	{ "proto", 0, OPT_WORD, "PROTO", "esp (default) or ah",
	  offsetof(struct delete_args, proto), .word_at = proto_word },
	OPTION_END,
};

static int run_delete(const void *data, struct ipsecbpf_report *report)
{
	const struct delete_args *args = data;
	struct ipsecbpf_sa_id id = {
		.spi = htonl(args->spi),
		.proto = args->proto == 2 ? IPPROTO_AH : IPPROTO_ESP,
	};
	int err;

	if (inet_pton(AF_INET, args->dst, id.dst.b) == 1) {
		id.family = FAMILY_V4;
	} else if (inet_pton(AF_INET6, args->dst, id.dst.b) == 1) {
		id.family = FAMILY_V6;
	} else {
		report_error(report, "--dst", NULL, "\"%s\" is not an IP address", args->dst);
		return EXIT_USAGE;
	}
	err = ipsecbpf_sa_delete(args->ifname, &id, report);
	if (err)
		return exit_code(err, args->ifname, report);
	out_string(OUT_ANY, "ifname", "%s: ", args->ifname);
	out_uint(OUT_ANY, "removed", "SAs: %" PRIu64 " removed\n", 1);
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

const struct verb verb_sa_rotate = {
	.group = "sa",
	.name = "rotate",
	.summary = "exchange SAs for those of a file without losing a packet",
	.details = "Run it on both hosts with the same file of new SAs. The new inbound SAs "
		   "receive at once. The new outbound ones are used as soon as the peer sends by "
		   "its new SA, or after --switch-after; if both hosts are told within that time, "
		   "nothing is lost. The old outbound SAs go then, the old inbound ones --drain "
		   "later. All or nothing: where one SA is refused, nothing changes.",
	.operands = apply_operands,
	.options = rotate_options,
	.args_size = sizeof(struct sa_args),
	.run = run_rotate,
};

const struct verb verb_sa_delete = {
	.group = "sa",
	.name = "delete",
	.summary = "remove one SA",
	.details = "If it was the outbound SA in use, the newest other one of its peer and "
		   "protection is; without any, what the policy protects is dropped.",
	.operands = delete_operands,
	.options = delete_options,
	.args_size = sizeof(struct delete_args),
	.run = run_delete,
};

const struct verb verb_sa_flush = {
	.group = "sa", .name = "flush", .summary = "remove all SAs",
	.details = "Traffic that the policy protects is dropped until there are SAs again.",
	.operands = ifname_operand, .options = no_options,
	.args_size = sizeof(struct ifname_args), .run = run_flush,
};
