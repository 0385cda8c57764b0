// SPDX-License-Identifier: BSD-2-Clause
/* Preflight: would attach work here? Ask everything, judge everything, tell. */
#include "preflight.h"

#include <bpf/libbpf.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "paths.h"

static const struct preflight_check_text texts[] = {
#define X(id, group, title, asks) { #id, #group, title, asks },
	PREFLIGHT_CHECKS(X)
#undef X
};

static const preflight_judge_fn judges[] = {
#define X(id, group, title, asks) preflight_judge_##id,
	PREFLIGHT_CHECKS(X)
#undef X
};

const struct preflight_check_text *preflight_check_text(enum preflight_check check)
{
	return &texts[check];
}

void preflight_found(struct preflight_finding *finding, enum preflight_result result,
		     const char *format, ...)
{
	va_list args;

	finding->result = result;
	va_start(args, format);
	vsnprintf(finding->found, sizeof(finding->found), format, args);
	va_end(args);
}

void preflight_fix(struct preflight_finding *finding, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(finding->fix, sizeof(finding->fix), format, args);
	va_end(args);
}

static bool has_controls(const char *text)
{
	while (*text && !iscntrl((unsigned char)*text))
		text++;
	return *text;
}

/* What is made to be pasted into root's shell must not do what a name says. */
void preflight_set_name(struct preflight_facts *facts, const char *ifname)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@-";
	FILE *word = fmemopen(facts->shell_name, sizeof(facts->shell_name), "w");

	facts->ifname = ifname;
	if (!word)
		return;
	if (!ifname[strspn(ifname, plain)]) {
		fputs(ifname, word);
	} else if (!strpbrk(ifname, "'") && !has_controls(ifname)) {
		fprintf(word, "'%s'", ifname);
	} else {
		fputs("$'", word);
		for (const char *c = ifname; *c; c++)
			fprintf(word, strchr(plain, *c) ? "%c" : "\\x%02x", (unsigned char)*c);
		fputc('\'', word);
	}
	fclose(word);
}

void preflight_judge(const struct preflight_facts *facts, enum preflight_check check,
		     struct preflight_finding *ret_finding)
{
	*ret_finding = (struct preflight_finding){ .check = check };
	judges[check](facts, ret_finding);
}

/* 0, or -errno. The facts are the caller's to free. */
static int gather(const char *ifname, const struct ipsecbpf_preflight_opts *opts, bool attaching,
		  struct preflight_facts **ret_facts)
{
	struct preflight_facts *facts;
	libbpf_print_fn_t old_print;
	struct paths paths;
	int err = paths_init(&paths, ifname);

	if (err)
		return err;
	facts = calloc(1, sizeof(*facts));
	if (!facts)
		return -ENOMEM;
	preflight_set_name(facts, ifname);
	if (opts)
		facts->wanted = *opts;
	if (!facts->wanted.mark_mask) {
		facts->wanted.mark_value = IPSECBPF_MARK_VALUE;
		facts->wanted.mark_mask = IPSECBPF_MARK_MASK;
	}
	old_print = libbpf_set_print(NULL);
	preflight_probe_process(facts);
	preflight_probe_nic(facts, attaching);
	preflight_probe_kernel(facts, attaching);
	preflight_probe_system(facts);
	preflight_probe_network(facts);
	libbpf_set_print(old_print);
	*ret_facts = facts;
	return 0;
}

int ipsecbpf_preflight(const char *ifname, const struct ipsecbpf_preflight_opts *opts,
		       preflight_fn fn, void *context)
{
	struct preflight_finding finding;
	struct preflight_facts *facts;
	int err, failures = 0;

	err = gather(ifname, opts, false, &facts);
	if (err)
		return err;
	for (int check = 0; check < PREFLIGHT_CHECK_COUNT; check++) {
		preflight_judge(facts, (enum preflight_check)check, &finding);
		if (!finding.found[0])
			continue;
		failures += finding.result == PREFLIGHT_FAILURE;
		fn(context, &finding);
	}
	free(facts);
	return failures;
}

int preflight_refuse(const char *ifname, const struct ipsecbpf_preflight_opts *opts,
		     struct ipsecbpf_report *report)
{
	struct preflight_finding finding;
	struct preflight_facts *facts;
	int err;

	err = gather(ifname, opts, true, &facts);
	if (err)
		return err;
	for (int check = 0; check < PREFLIGHT_CHECK_COUNT; check++) {
		preflight_judge(facts, (enum preflight_check)check, &finding);
		if (!finding.found[0] || finding.result != PREFLIGHT_FAILURE)
			continue;
		err = -EPERM;
		report_error(report, ifname, finding.fix[0] ? finding.fix : NULL, "%s: %s",
			     texts[check].title, finding.found);
	}
	free(facts);
	return err;
}
