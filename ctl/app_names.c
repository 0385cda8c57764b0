// SPDX-License-Identifier: BSD-2-Clause
/* `app names`: what the host names of the policy in force stand for. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/names_store.h"
#include "lib/names_watch.h"
#include "lib/pin.h"
#include "lib/policy_internal.h"
#include "lib/policy_store.h"
#include "output.h"
#include "verbs.h"

#define INDENT "     "

static void show_addresses(const struct name_addresses *live)
{
	char text[128];

	out_array("addresses");
	for (size_t i = 0; live && i < live->addresses.count; i++) {
		address_format(&live->addresses.items[i], text, sizeof(text));
		out_string(OUT_JSON, NULL, out_plain, text);
		out_span(INDENT "%s", text);
	}
	out_array_end();
	if (!live || !live->addresses.count)
		out_span(INDENT "no address: no packet is to or from it");
}

static void show_resolved(const struct name_addresses *entry)
{
	int64_t past = (int64_t)(wall_clock_ns() / 1000000000u) - entry->resolved_at;
	char text[64];

	if (!entry->resolved_at) {
		out_null(OUT_ANY, "resolved_at", "never");
		return;
	}
	out_int(OUT_JSON, "resolved_at", out_plain, entry->resolved_at);
	snprintf(text, sizeof(text), "%" PRId64 " s ago", past > 0 ? past : 0);
	out_string(OUT_TEXT, "resolved", out_plain, text);
}

/* `seen` is what the last look said of it, `live` what is in force; either may be NULL. */
static void show_name(const char *name, const struct name_addresses *live,
		      const struct name_addresses *seen)
{
	static const struct name_addresses nothing;
	const struct name_addresses *entry = seen ? seen : live ? live : &nothing;
	char ttl[32];

	out_object(NULL);
	out_string(OUT_ANY, "name", out_plain, name);
	out_uint(OUT_ANY, "count", out_plain, live ? live->addresses.count : 0);
	snprintf(ttl, sizeof(ttl), "%u s", entry->ttl);
	if (entry->ttl)
		out_uint(OUT_JSON, "ttl", out_plain, entry->ttl);
	else
		out_null(OUT_JSON, "ttl", NULL);
	out_string(OUT_TEXT, "ttl", out_plain, entry->ttl ? ttl : "not from DNS");
	out_bool(OUT_JSON, "dnssec", out_plain, entry->secure);
	out_string(OUT_TEXT, "dnssec", out_plain, entry->secure ? "secure" : "no");
	show_resolved(entry);
	if (entry->failure)
		out_string(OUT_ANY, "failure", out_plain, names_failure_text(entry->failure));
	else
		out_null(OUT_ANY, "failure", "-");
	out_row_end();
	show_addresses(live);
	out_object_end();
}

static int show(const struct pins *pins, const struct policy *policy)
{
	static const char *const headings[] = {
		"name", "addresses", "TTL", "DNSSEC", "resolved", "why not anew",
	};
	struct name_table seen = { 0 };
	const char **names;
	char path[256];
	size_t count;
	int err = policy_names(policy, &names, &count);

	if (err)
		return err;
	names_look_path(&pins->paths, path);
	names_file_read(path, &seen, NULL);	/* without a look so far, there is what is in force */
	out_string(OUT_JSON, "ifname", out_plain, pins->ifname);
	out_array("names");
	out_table(headings, sizeof(headings) / sizeof(headings[0]));
	for (size_t i = 0; i < count; i++) {
		const struct name_addresses *live = name_table_find(&policy->names, names[i]);
		const struct name_addresses *last = name_table_find(&seen, names[i]);

		/* Another policy was put in force since. */
		if (last && live && last->asked_at < live->asked_at)
			last = NULL;
		show_name(names[i], live, last);
	}
	out_table_end();
	out_array_end();
	if (!count)
		out_text("%s: its policy has no host names\n", pins->ifname);
	name_table_fini(&seen);
	free(names);
	return 0;
}

static int run(const void *data, struct ipsecbpf_report *report)
{
	const struct ifname_args *args = data;
	struct policy *policy;
	struct pins pins;
	int err = pins_open(&pins, args->ifname, report);

	if (err)
		return exit_code(err, args->ifname, report);
	policy = policy_read_live(&pins, report);
	if (!policy && errno == ENODATA)
		report_error(report, args->ifname, "ipsecbpf policy apply gives it one",
			     "no policy is in force");
	err = policy ? show(&pins, policy) : -errno;
	policy_free(policy);
	pins_close(&pins);
	return exit_code(err, args->ifname, report);
}

const struct verb verb_app_names = {
	.group = "app",
	.name = "names",
	.summary = "the host names of the policy, and the addresses that are in force for them",
	.details = "With their TTL, whether DNSSEC vouches for them (the resolver says so, and is "
		   "trusted with it), when they were resolved last, and why they could not be since.",
	.operands = ifname_operand,
	.options = no_options,
	.args_size = sizeof(struct ifname_args),
	.run = run,
};
